//! TLS is rustls over ring, with the certificates that the operating system trusts.

/// Installs the provider for the whole process, unless one is installed already.
pub(crate) fn install_provider() {
    // Losing this race means that a provider is there, which is all that is wanted.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}
