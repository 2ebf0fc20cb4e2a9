//! Figures: medians with their spread, as the tables print them.

use std::fmt;

/// Values of one thing that was measured several times.
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Of nothing there are no figures: `values` must not be empty.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The middle one, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let (low, high) = ((self.0.len() - 1) / 2, self.0.len() / 2);
        f64::midpoint(self.0[low], self.0[high])
    }
}

/// `median (min–max)`, with the precision asked for.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        write!(f, "{:.digits$} ({least:.digits$}–{most:.digits$})", self.median())
    }
}
