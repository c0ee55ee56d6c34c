//! Where a MariaDB or MySQL database is, and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gristmill_core::{Mistake, Pointer, Result};

use super::files::{self, Client as Defaults};
use crate::address::{CONNECT_TIMEOUT, TlsMode, is_loopback};

/// The port of a server that nobody says one for.
pub(crate) const PORT: u16 = 3306;
const EXAMPLE: &str = "write it like mysql://user@host:3306/warehouse";

/// A MariaDB or MySQL database.
#[derive(Clone)]
pub struct Address {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    pub(super) database: String,
    /// The path of a socket in the file system.
    pub(super) socket: Option<String>,
    tls: Option<TlsMode>,
    /// Certificates of authorities, in addition to those of public ones.
    pub(super) root: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Option<Duration>,
    name: String,
}

/// An address with all that option files say about it.
pub(super) struct Whole {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) tls: TlsMode,
}

impl Address {
    /// Reads a URL: `mysql://user:password@host:3306/database`, or `mariadb://…`, with the
    /// parameters `sslmode`, `sslrootcert`, `connect_timeout`, `statement_timeout` (both in
    /// seconds) and `socket`. What it leaves out comes from `MYSQL_HOST`, `MYSQL_TCP_PORT` and
    /// `MYSQL_PWD`, and from `[client]` in `~/.my.cnf`.
    ///
    /// # Errors
    /// What is wrong with it, without the URL itself: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, Mistake> {
        let wrong = |message: &str, hint: &str| Mistake::new(Pointer::root(), message).hint(hint);
        let unreadable = || wrong("the database's URL cannot be read", EXAMPLE);
        let rest = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://"));
        let rest = rest.ok_or_else(|| wrong("a MariaDB or MySQL database is a URL", EXAMPLE))?;
        let (place, query) = rest.rsplit_once('?').unwrap_or((rest, ""));
        let (server, database) = place.rsplit_once('/').unwrap_or((place, ""));
        let (who, host) = match server.rsplit_once('@') {
            Some((who, host)) => (Some(who), host),
            None => (None, server),
        };
        let decoded = |text: &str| decode(text).ok_or_else(unreadable);
        let database = decoded(database)?;
        if database.is_empty() {
            return Err(wrong("the URL names no database", EXAMPLE));
        }
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
            None => (None, None),
        };
        let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match host.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            },
        };
        let port = port.map(|port| port.parse().map_err(|_| unreadable())).transpose()?;
        let some = |text: String| (!text.is_empty()).then_some(text);
        let mut address = Self {
            host: some(decoded(host)?).or_else(|| variable("MYSQL_HOST")),
            port: port.or_else(|| variable("MYSQL_TCP_PORT")?.parse().ok()),
            user: user.and_then(some),
            password: password.and_then(some).or_else(|| variable("MYSQL_PWD")),
            database,
            socket: None,
            tls: None,
            root: None,
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: None,
            name: String::new(),
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            address.set(key, value)?;
        }
        address.name = address.shown();
        Ok(address)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Mistake> {
        let wrong = |message: String, hint: &str| {
            Err(Mistake::new(Pointer::root(), message).hint(hint.to_owned()))
        };
        let seconds = || value.parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
        match key {
            "sslmode" | "ssl-mode" => match mode(value) {
                Some(mode) => self.tls = Some(mode),
                None => {
                    return wrong(
                        format!("`{key}` is not understood"),
                        "say one of disable, prefer, require or verify-full",
                    );
                }
            },
            "sslrootcert" | "ssl-ca" => self.root = Some(value.into()),
            "socket" => self.socket = decode(value),
            "connect_timeout" | "statement_timeout" => match (key, seconds()) {
                ("connect_timeout", Some(time)) => self.connect_timeout = time,
                (_, Some(time)) => self.statement_timeout = Some(time),
                (_, None) => {
                    return wrong(format!("`{key}` is not understood"), "say a number of seconds");
                }
            },
            // What stands there may be a part of a password.
            _ => {
                return wrong(
                    "the database's URL has an unknown parameter".to_owned(),
                    "it knows sslmode, sslrootcert, connect_timeout, statement_timeout and socket",
                );
            }
        }
        Ok(())
    }

    fn shown(&self) -> String {
        let host = self.host.as_deref().unwrap_or("localhost");
        let host = self.socket.as_deref().unwrap_or(host);
        match self.port {
            Some(port) if port != PORT => format!("mysql://{host}:{port}/{}", self.database),
            _ => format!("mysql://{host}/{}", self.database),
        }
    }

    /// With what option files say. A password is kept for the user and the host that the file
    /// names with it.
    pub(super) fn whole(&self) -> Result<Whole> {
        let Defaults { host, port, user, password } = match (&self.user, &self.password) {
            (Some(_), Some(_)) if self.host.is_some() => Defaults::default(),
            _ => files::read()?,
        };
        let fits = |own: &Option<String>, other: &Option<String>| {
            own.is_none() || other.is_none() || own == other
        };
        let password = password.filter(|_| fits(&self.host, &host) && fits(&self.user, &user));
        let port = self.port.or(port.filter(|_| self.host.is_none())).unwrap_or(PORT);
        let host = self.host.clone().or(host).unwrap_or_else(|| "localhost".to_owned());
        let tls = self.tls.unwrap_or(match self.socket.is_some() || is_loopback(&host) {
            true => TlsMode::Prefer,
            false => TlsMode::VerifyFull,
        });
        let user = self.user.clone().or(user).or_else(|| variable("USER"));
        Ok(Whole { host, port, user, password: self.password.clone().or(password), tls })
    }

    /// How messages call it: without user, password and parameters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are the same database, for the same user.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.user == other.user
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The words of PostgreSQL, and those of MySQL's own programs. There is no mode that trusts the
/// certificate of any host: public authorities are trusted, and give everybody one.
fn mode(text: &str) -> Option<TlsMode> {
    Some(match text.to_ascii_lowercase().replace('_', "-").as_str() {
        "disable" | "disabled" => TlsMode::Disable,
        "allow" | "prefer" | "preferred" => TlsMode::Prefer,
        "require" | "required" => TlsMode::Require,
        "verify-full" | "verify-identity" => TlsMode::VerifyFull,
        _ => return None,
    })
}

/// Without percent signs; `None` where what follows one is no byte of UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_names_a_database_tells_its_password() {
        let url = "mysql://ann:s3%40cret@db.example.com:3307/dwh?sslmode=require";
        let address = Address::parse(url).unwrap();
        assert_eq!(address.name(), "mysql://db.example.com:3307/dwh");
        assert_eq!(format!("{address:?}"), address.name());
        assert_eq!(address.tls, Some(TlsMode::Require));
        assert_eq!(address.password.as_deref(), Some("s3@cret"));
        for url in [
            "mysql://ann:s3cret@db:x/dwh",
            "mysql://ann:s3cret@db",
            "mysql://ann:s3cret@db/dwh?s3cret=s3cret",
            "mysql://ann:s3cret@db/dwh?sslmode=s3cret",
            "mysql://ann:s3cret@db/dwh?connect_timeout=s3cret",
            "mysql://ann:s3cret%zz@db/dwh",
            "postgres://ann:s3cret@db/dwh",
        ] {
            let mistake = Address::parse(url).unwrap_err();
            let said = format!("{mistake} {:?}", mistake.hint);
            assert!(!said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn other_machines_must_show_who_they_are() {
        let mode = |url| Address::parse(url).unwrap().whole().unwrap().tls;
        assert_eq!(mode("mysql://a:b@db.example.com/dwh"), TlsMode::VerifyFull);
        assert_eq!(mode("mariadb://a:b@127.0.0.1/dwh"), TlsMode::Prefer);
        assert_eq!(mode("mysql://a:b@[::1]:3306/dwh"), TlsMode::Prefer);
        assert_eq!(mode("mysql://a:b@db/dwh?ssl-mode=DISABLED"), TlsMode::Disable);
        assert_eq!(mode("mysql://a:b@localhost/dwh?ssl-mode=VERIFY_IDENTITY"), TlsMode::VerifyFull);
        assert!(Address::parse("mysql://a:b@db/dwh?sslmode=verify-ca").is_err());
    }
}
