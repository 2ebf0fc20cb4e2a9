//! Where a request came from: what API Gateway or the listener saw, never what a header says.

use std::net::IpAddr;

use http::Extensions;
use lambda_http::request::RequestContext;

/// The other end of the connection, as a listener puts it into a request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// The address that a request came from; `None` where nobody noted it.
pub fn source_address(extensions: &Extensions) -> Option<IpAddr> {
    let address = match extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(gateway)) => gateway.http.source_ip.as_deref()?.parse().ok()?,
        _ => extensions.get::<Peer>()?.0,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_s_word_is_taken() {
        let mut extensions = Extensions::new();
        assert_eq!(source_address(&extensions), None);
        extensions.insert(Peer("::ffff:192.0.2.7".parse().unwrap()));
        assert_eq!(source_address(&extensions), Some("192.0.2.7".parse().unwrap()));
    }
}
