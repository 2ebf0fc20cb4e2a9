//! TLS as tools are told of it, where they speak it themselves: whose certificates count.

use holdfast_shared::domain::recipe::Tls;

/// The file that holds the certificates of the authorities that count, for tools that look at a server's.
pub(super) const AUTHORITIES: &str = "/dev/fd/4";

/// Opens that file: with the lines of input up to an empty one or, where there are none, with those that the machine
/// trusts. Tools open it again for each connection, so it is a regular file; what we made is gone from its folder before
/// anything starts.
const OPEN_AUTHORITIES: &str = r#"
ca=
while IFS= read -r line && [ -n "$line" ]; do ca="$ca$line
"; done
if [ -n "$ca" ]; then
    file=$(umask 077; mktemp -p /dev/shm 2>/dev/null || mktemp) || exit 1
    printf '%s' "$ca" >"$file" && exec 4<"$file" || { rm -f "$file"; exit 1; }
    rm -f "$file"
else
    for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem ''; do
        [ ! -r "$file" ] || break
    done
    [ -n "$file" ] || { echo 'holdfast: no certificates of authorities' >&2; exit 1; }
    exec 4<"$file"
fi
unset ca line file
"#;
/// What it says where the machine trusts nobody.
pub(super) const NO_AUTHORITIES: &str = "holdfast: no certificates of authorities";

/// A script whose programs find [`AUTHORITIES`] where `tls` needs them, and what comes before its own input.
pub(super) fn with_authorities(tls: &Tls, script: &str) -> (String, Vec<u8>) {
    if !tls.mode.verifies() {
        return (script.to_owned(), Vec::new());
    }
    let lines = format!("{}\n", tls.authorities.as_deref().unwrap_or_default());
    (format!("{OPEN_AUTHORITIES}{script}"), lines.into_bytes())
}
