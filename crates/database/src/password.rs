//! Passwords that a URL leaves out: `PGPASSWORD`, and the password file of PostgreSQL's programs
//! (<https://www.postgresql.org/docs/current/libpq-pgpass.html>).

use std::fs;
use std::path::{Path, PathBuf};

use gristmill_core::{Error, ErrorKind, Result};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The password for an address, if one is kept for it.
pub(crate) fn find(config: &Config) -> Result<Option<String>> {
    if let Some(password) = std::env::var("PGPASSWORD").ok().filter(|text| !text.is_empty()) {
        return Ok(Some(password));
    }
    let file = std::env::var_os("PGPASSFILE").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".pgpass"))
    });
    let Some(file) = file.filter(|file| file.is_file()) else { return Ok(None) };
    if is_open_to_others(&file) {
        return Err(Error::new(
            ErrorKind::Permission,
            format!("others may read the password file `{}`", file.display()),
        )
        .hint(format!("run: chmod 600 {}", file.display())));
    }
    let text = fs::read_to_string(&file)
        .map_err(|e| Error::io(format!("cannot read the password file `{}`", file.display()), e))?;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.as_str(),
        _ => "localhost",
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    Ok(text.lines().find_map(|line| matching(line, [host, &port, database, user])))
}

#[cfg(unix)]
pub(crate) fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub(crate) fn is_open_to_others(_: &Path) -> bool {
    false
}

/// The password of a line `host:port:database:user:password`, if it is for this address. `*`
/// stands for everything; a backslash takes the next character as it is.
fn matching(line: &str, address: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![(String::new(), false)];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let end = fields.len() - 1;
        let (field, escaped) = &mut fields[end];
        match character {
            '\\' => {
                *escaped = true;
                field.extend(characters.next());
            }
            // The password may hold colons.
            ':' if end < address.len() => fields.push((String::new(), false)),
            other => field.push(other),
        }
    }
    let (password, _) = fields.pop()?;
    let fits = fields.len() == address.len()
        && fields
            .iter()
            .zip(address)
            .all(|((field, escaped), value)| (field == "*" && !escaped) || field == value);
    fits.then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_its_address_only() {
        let address = ["db.example.com", "5432", "dwh", "ann"];
        let of = |line| matching(line, address);
        assert_eq!(of("db.example.com:5432:dwh:ann:a:b"), Some("a:b".to_owned()));
        assert_eq!(of("*:*:*:ann:x\\:y\\\\"), Some("x:y\\".to_owned()));
        assert_eq!(of("*:*:*:bob:x"), None);
        assert_eq!(of("\\*:*:*:ann:x"), None);
        assert_eq!(of("# *:*:*:ann:x"), None);
        assert_eq!(of("*:*:*:ann"), None);
    }
}
