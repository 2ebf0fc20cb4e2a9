//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use holdfast_shared::Error;
use http::Extensions;
use http::request::Parts;
use lambda_http::request::RequestContext;

use super::error::{Answer, HttpError};

/// [`client_address`], which every listener of ours knows.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let address = client_address(&parts.extensions);
        address.map(Self).ok_or_else(|| Error::internal("a request came from nowhere").into())
    }
}

/// The address that a request came from: what API Gateway saw, on one machine the socket's peer. Never a header:
/// anybody can write those. An IPv4 address that is written as an IPv6 one is the IPv4 address.
pub fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    let address = match extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(gateway)) => gateway.http.source_ip.as_deref()?.parse().ok()?,
        _ => extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip(),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;

    use super::*;

    #[test]
    fn is_the_gateway_s_or_the_peer_s() {
        let mut extensions = Extensions::new();
        assert_eq!(client_address(&extensions), None);
        extensions.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        assert_eq!(client_address(&extensions), Some([127, 0, 0, 1].into()));
        extensions.insert(ConnectInfo::<SocketAddr>("[::ffff:192.0.2.1]:5".parse().unwrap()));
        assert_eq!(client_address(&extensions), Some([192, 0, 2, 1].into()));
        let mut gateway = ApiGatewayV2httpRequestContext::default();
        gateway.http.source_ip = Some("2001:db8::1".to_owned());
        extensions.insert(RequestContext::ApiGatewayV2(gateway));
        assert_eq!(client_address(&extensions), Some("2001:db8::1".parse().unwrap()));
    }
}
