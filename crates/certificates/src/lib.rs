//! What a TLS listener presents: certificates and keys, chosen by name.
