#!/bin/sh
# Makes the certificates that the tests over TLS use, with a hundred years to live: an authority, a sidecar's certificate that
# it has issued for localhost, and another authority that has issued nothing.
set -eu
cd "$(dirname "$0")"
new() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }
authority() {
    new key.tmp
    openssl req -x509 -new -key key.tmp -days 36500 -subj "/CN=$2" -out "$1" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}
authority other.pem "another authority of a test"
authority authority.pem "an authority of a test"
new sidecar.key
openssl req -new -key sidecar.key -subj "/CN=a sidecar of a test" -out request.tmp
printf 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n' >extensions.tmp
openssl x509 -req -in request.tmp -CA authority.pem -CAkey key.tmp -CAcreateserial -days 36500 -extfile extensions.tmp -out sidecar.pem
rm -f ./*.tmp ./*.srl
