//! A certificate for this host, of an authority that nobody knows.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::write;

/// Makes an authority and a certificate of it for this host: `ca.pem`, `cert.pem` and `key.pem` in `folder`.
///
/// # Panics
/// If they cannot be made.
pub fn write_certificates(folder: &Path) {
    let key = || KeyPair::generate().expect("a P-256 key can be made");
    let mut authority = CertificateParams::new(Vec::new()).expect("no names are valid names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = key();
    let ca = authority.self_signed(&authority_key).expect("a certificate can be signed");
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let params = CertificateParams::new(names).expect("both are valid names");
    let own_key = key();
    let issuer = Issuer::new(authority, authority_key);
    let own = params.signed_by(&own_key, &issuer).expect("a certificate can be signed");
    write(&folder.join("ca.pem"), &ca.pem());
    write(&folder.join("cert.pem"), &own.pem());
    write(&folder.join("key.pem"), &own_key.serialize_pem());
}
