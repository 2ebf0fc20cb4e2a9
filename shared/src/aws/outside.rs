//! The HTTP client for stores that users name. It connects only to addresses that the guard lets through.
//!
//! It takes no proxy from the environment: a proxy would look names up itself.

use std::net::IpAddr;

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::guard::Guard;

/// Names as the guard resolves them. A URL that holds an address is not resolved by anybody, so whoever makes a client
/// for it has to ask the guard before.
#[derive(Debug, Clone)]
struct GuardedNames(Guard);

impl ResolveDns for GuardedNames {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let found = self.0.resolve(name, 0).await.map_err(ResolveDnsError::new)?;
            Ok(found.into_iter().map(|found| found.ip()).collect::<Vec<IpAddr>>())
        })
    }
}

/// How stores that users name are reached: the guard, and one pool of connections behind it.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Decides where users may lead us.
    pub guard: Guard,
    pub(super) http: SharedHttpClient,
}

impl Outside {
    /// Connections that go where `guard` lets them.
    pub fn new(guard: Guard) -> Self {
        let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        Self { http: builder.build_with_resolver(GuardedNames(guard.clone())), guard }
    }
}
