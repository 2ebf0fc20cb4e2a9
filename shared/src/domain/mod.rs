//! Pure values and rules: no IO, no clock, no environment, no AWS.

pub mod expression;
