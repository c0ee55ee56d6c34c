//! Servers that show a certificate, made for the address 0.0.0.0: it is this machine, and does not
//! count as it.

use gristmill_core::{Error, ErrorKind};
use gristmill_scratch::server::{Kind, MARIADB, POSTGRES, Server, Setup};
use serde_json::json;
use tempfile::tempdir;

use crate::support::{batch, context, ints, load};

const CERTIFICATES: &str = "
    new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'
    $new -keyout ca.key -out ca.crt -subj /CN=authority
    $new -keyout server.key -out server.crt -subj /CN=server -CA ca.crt -CAkey ca.key \
        -addext subjectAltName=IP:0.0.0.0 -addext basicConstraints=critical,CA:FALSE
    chmod 644 ca.crt && chmod 755 .";

fn server(kind: &Kind) -> Option<Server> {
    let (also, options) = match kind.name {
        "PostgreSQL" => (
            "sed -i s/^host/hostssl/ data/pg_hba.conf",
            "-c ssl=on -c ssl_cert_file=\"$FOLDER/server.crt\" -c ssl_key_file=\"$FOLDER/server.key\"",
        ),
        _ => ("", "--ssl-cert=\"$FOLDER/server.crt\" --ssl-key=\"$FOLDER/server.key\""),
    };
    let before = format!("{CERTIFICATES}\n{also}");
    Server::own(kind, Setup { before: &before, options })
}

/// Loads a record, and says how that went.
fn attempt(url: &str) -> Result<u64, Error> {
    let folder = tempdir().unwrap();
    let item = json!({"table": "t", "database": url});
    let input = batch(1, vec![("id", ints([1]))]);
    Ok(load(&item, &[input], &context(folder.path(), url))?.0.inserted)
}

fn a_certificate_is_looked_at(kind: &Kind) {
    let Some(server) = server(kind) else { return };
    let local = server.url.as_str();
    let remote = local.replace("127.0.0.1", "0.0.0.0");
    let root = server.folder.join("ca.crt").display().to_string();
    let said = |url: String| {
        let error = attempt(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission, "{url}: {error:?}");
        format!("{error}: {}; {}", error.causes().join(": "), error.hint_text().unwrap_or_default())
    };
    // Off this machine, it has to be that of the host, from an authority that is known.
    for url in [remote.clone(), format!("{local}?sslmode=verify-full")] {
        let said = said(url);
        assert!(said.contains("UnknownIssuer"), "{said}");
        assert!(said.contains("`sslrootcert=FILE` names the authority's"), "{said}");
    }
    let said = said(format!("{local}?sslmode=verify-full&sslrootcert={root}"));
    assert!(said.contains("the certificate is for another host"), "{said}");
    for accepted in [
        format!("{remote}?sslrootcert={root}"),
        format!("{remote}?sslmode=require"),
        local.to_owned(),
    ] {
        assert_eq!(attempt(&accepted).unwrap(), 1, "{accepted}");
    }
    if kind.name == POSTGRES.name {
        let named = format!("{local}?sslmode=verify-ca&sslrootcert={root}");
        assert_eq!(attempt(&named).unwrap(), 1);
        let error = attempt(&format!("{local}?sslmode=disable")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission, "{error:?}");
    }
    let error = attempt(&format!("{remote}?sslrootcert={root}.not")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
    assert!(error.to_string().contains("ca.crt.not"), "{error}");
}

#[test]
fn the_certificate_of_postgresql_is_looked_at() {
    a_certificate_is_looked_at(&POSTGRES);
}

#[test]
fn the_certificate_of_mariadb_is_looked_at() {
    a_certificate_is_looked_at(&MARIADB);
}
