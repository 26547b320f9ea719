# shellcheck shell=bash
# What the demos' HTTPS needs, in compose/tls/: an authority, a certificate that it has signed, and keys for tickets. All of
# that is made here, for this checkout alone. Needs say.sh and nodes.sh.

readonly tls_dir=compose/tls
# Nodes get no file of a directory in there, and so not the authority's key.
readonly authority_key=$tls_dir/private/ca.key

# Who the certificate is for: what people type.
readonly tls_names=DNS:localhost,DNS:lb,DNS:lb1,DNS:lb2,DNS:lb3,IP:127.0.0.1,IP:::1,IP:172.20.0.100,IP:172.20.0.11,IP:172.20.0.12,IP:172.20.0.13,IP:192.0.2.100

# Makes what is missing, or ends soon.
ensure_tls() {
    if ! lasts "$tls_dir/ca.pem" 120 || [ ! -s "$authority_key" ]; then
        step "Making an authority for the demos' HTTPS: $tls_dir/ca.pem"
        make_authority
    fi
    lasts "$tls_dir/demo.pem" 30 || make_certificate
    [ -s "$tls_dir/tickets" ] || (umask 077 && openssl rand -hex 64 >"$tls_dir/tickets")
}

lasts() { # FILE DAYS: whether a certificate is good for so long
    [ -s "$1" ] && openssl x509 -in "$1" -noout -checkend $(($2 * 24 * 60 * 60)) >/dev/null 2>&1
}

make_authority() {
    mkdir -p "$tls_dir"
    chmod 755 "$tls_dir"
    install -d -m 700 "$tls_dir/private"
    # It would be of another one.
    rm -f "$tls_dir/demo.pem"
    make_key "$authority_key"
    sign "$tls_dir/ca.pem" "Tandem's demo on $(uname -n)" 3650 "$authority_key" -signkey "$authority_key" <<EXTENSIONS
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
EXTENSIONS
    chmod 644 "$tls_dir/ca.pem"
}

# The certificate and its key are one file, which is replaced at once.
make_certificate() {
    local new=$tls_dir/private/demo.pem key=$tls_dir/private/demo.key
    make_key "$key"
    sign "$new" localhost 90 "$key" -CA "$tls_dir/ca.pem" -CAkey "$authority_key" <<EXTENSIONS
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = $tls_names
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EXTENSIONS
    cat "$key" >>"$new"
    rm "$key"
    mv "$new" "$tls_dir/demo.pem"
}

make_key() { # FILE
    (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out "$1") || die "openssl makes no key"
}

# sign FILE NAME DAYS KEY -signkey KEY | -CA FILE -CAkey KEY: a certificate with the extensions on standard input.
sign() {
    local extensions trouble
    extensions=$(cat)
    trouble=$({
        openssl req -new -config <(printf '[req]\ndistinguished_name = given\n[given]\n') -subj "/CN=$2" -key "$4" |
            (umask 077 && openssl x509 -req -days "$3" -set_serial "0x$(openssl rand -hex 16)" "${@:5}" \
                -extfile <(printf '%s\n' "$extensions") -out "$1")
    } 2>&1) || die "openssl makes no certificate: $trouble"
}

# Brings what is there now to the nodes of the demo that runs.
distribute_tls() {
    local node
    find_running
    for node in $(nodes_of "$running_demo"); do
        take_certificates "$node" || warn "$node does not take the certificate before it starts again"
    done
}

# A new certificate of the same authority, as a renewal makes one.
renew() {
    find_running
    [ -n "$running_engine" ] || die "no demo runs" "Start one: make demo-1, demo-2 or demo-3"
    ensure_tls
    make_certificate
    distribute_tls
    say "$tls_dir/demo.pem is a new certificate. It is presented within 5 s."
}
