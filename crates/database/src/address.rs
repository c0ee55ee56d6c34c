//! Where a database is, and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use gristmill_core::{Mistake, Pointer, Result};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::password;

/// How long a connection may take to come about, unless `connect_timeout` says otherwise.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After this much silence the other end is asked whether it is still there.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);
const EXAMPLE: &str = "write it like postgres://user@host:5432/warehouse";

/// How a connection is encrypted: the words of PostgreSQL's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// If the server can, without a look at its certificate.
    Prefer,
    /// Always, without a look at the server's certificate.
    Require,
    /// Always; the certificate comes from an authority that is trusted.
    VerifyCa,
    /// Always; the certificate comes from an authority that is trusted, and is that of the host.
    VerifyFull,
}

impl FromStr for TlsMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "disable" => TlsMode::Disable,
            "allow" | "prefer" => TlsMode::Prefer,
            "require" => TlsMode::Require,
            "verify-ca" => TlsMode::VerifyCa,
            "verify-full" => TlsMode::VerifyFull,
            _ => return Err("disable, prefer, require, verify-ca or verify-full".to_owned()),
        })
    }
}

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Address {
    pub(crate) config: Config,
    pub(crate) tls: TlsMode,
    /// Certificates of authorities, in place of those that the system trusts.
    pub(crate) root: Option<PathBuf>,
    name: String,
}

impl Address {
    /// Reads a URL as PostgreSQL's own programs do: `postgres://user:password@host:5432/database`
    /// with parameters such as `sslmode`, `sslrootcert`, `connect_timeout`, `statement_timeout` (both
    /// in seconds), `options` and `application_name`. What it leaves out comes from `PGHOST`, `PGPORT`, `PGUSER` and
    /// `PGDATABASE`.
    ///
    /// # Errors
    /// What is wrong with it, without the URL itself: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, Mistake> {
        let wrong = |message: &str, hint: String| Mistake::new(Pointer::root(), message).hint(hint);
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest =
            rest.ok_or_else(|| wrong("a PostgreSQL database is a URL", EXAMPLE.to_owned()))?;
        let (place, query) = rest.rsplit_once('?').unwrap_or((rest, ""));
        let mut parameters = Vec::new();
        let (mut tls, mut root, mut limit) = (None, None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => {
                    let mode = mode.parse().map_err(|modes| {
                        wrong("`sslmode` is not understood", format!("say one of {modes}"))
                    })?;
                    tls = Some(mode);
                }
                Some(("sslrootcert", path)) => root = Some(PathBuf::from(path)),
                Some(("statement_timeout", seconds)) => {
                    limit = seconds.parse::<u32>().ok().filter(|seconds| *seconds > 0);
                    if limit.is_none() {
                        let hint = "say a number of seconds".to_owned();
                        return Err(wrong("`statement_timeout` is not understood", hint));
                    }
                }
                _ => parameters.push(parameter),
            }
        }
        let mut config = Config::from_str(&format!("postgres://{place}?{}", parameters.join("&")))
            .map_err(|error| {
                // Its cause names a parameter, or says what stands at the wrong place.
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let cause = cause.filter(|cause| cause.starts_with("unknown option"));
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                wrong(&format!("the database's URL cannot be read{cause}"), EXAMPLE.to_owned())
            })?;
        let is_cut = |host: &Host| matches!(host, Host::Tcp(host) if host.contains('@'));
        if config.get_hosts().iter().any(is_cut) {
            // What stands before it would be taken for a part of the host.
            let hint = "write a `@` of a user or a password as %40".to_owned();
            return Err(wrong("the database's URL has more than one `@`", hint));
        }
        if let Some(seconds) = limit {
            let others =
                config.get_options().map_or_else(String::new, |others| format!("{others} "));
            config.options(format!("{others}-c statement_timeout={seconds}s"));
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if config.get_hosts().is_empty() {
            config.host(variable("PGHOST").as_deref().unwrap_or("localhost"));
        }
        if config.get_ports().is_empty()
            && let Some(port) = variable("PGPORT").and_then(|port| port.parse().ok())
        {
            config.port(port);
        }
        if config.get_user().is_none() {
            config.user(variable("PGUSER").or_else(|| variable("USER")).unwrap_or_default());
        }
        if config.get_dbname().is_none()
            && let Some(name) = variable("PGDATABASE")
        {
            config.dbname(name);
        }
        if config.get_application_name().is_none() {
            config.application_name("gristmill");
        }
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT));
        config.keepalives_idle(KEEPALIVE);
        let local = config.get_hosts().iter().all(is_local);
        let tls = tls.unwrap_or(if local { TlsMode::Prefer } else { TlsMode::VerifyFull });
        config.ssl_mode(match tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
        let name = name(&config);
        Ok(Self { config, tls, root, name })
    }

    /// The same with a password, where the URL has none: from `PGPASSWORD` or the password file.
    pub(crate) fn with_password(&self) -> Result<Config> {
        let mut config = self.config.clone();
        if config.get_password().is_none()
            && let Some(password) = password::find(&config)?
        {
            config.password(password);
        }
        Ok(config)
    }

    /// How messages call it: without user, password and parameters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are the same database, for the same user, in sessions that are set up alike.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.config.get_user() == other.config.get_user()
            && self.config.get_options() == other.config.get_options()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(host) => is_loopback(host),
    }
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn name(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(i, host)| {
            let host = match host {
                Host::Tcp(host) => host.clone(),
                Host::Unix(path) => path.display().to_string(),
            };
            match ports.get(i).or(ports.first()) {
                Some(5432) | None => host,
                Some(port) => format!("{host}:{port}"),
            }
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{}/{database}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_names_a_database_tells_its_password() {
        let address =
            Address::parse("postgres://ann:s3cret@db.example.com:5433/dwh?sslmode=require")
                .unwrap();
        assert_eq!(address.name(), "postgres://db.example.com:5433/dwh");
        assert_eq!(format!("{address:?}"), address.name());
        assert_eq!(address.tls, TlsMode::Require);
        for url in [
            "postgres://ann:s3cret@db:x/dwh",
            "postgres://ann:tiger@s3cret@db/dwh",
            "postgres://ann:s3cret@db/dwh?colour=s3cret",
            "postgres://ann:s3cret@db/dwh?sslmode=s3cret",
            "mysql://ann:s3cret@db/dwh",
        ] {
            let mistake = Address::parse(url).unwrap_err();
            let said = format!("{mistake} {:?}", mistake.hint);
            assert!(!said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn a_time_limit_is_one_of_the_servers_options() {
        let options = |query: &str| {
            let address = Address::parse(&format!("postgres://db/dwh?{query}"))?;
            Ok::<_, Mistake>(address.config.get_options().map(str::to_owned))
        };
        let limit = Some("-c statement_timeout=3s".to_owned());
        assert_eq!(options("statement_timeout=3").unwrap(), limit);
        let both = Some("-c jit=off -c statement_timeout=3s".to_owned());
        assert_eq!(options("options=-c%20jit%3Doff&statement_timeout=3").unwrap(), both);
        assert!(
            options("statement_timeout=soon").is_err() && options("statement_timeout=0").is_err()
        );
    }

    #[test]
    fn other_machines_must_show_who_they_are() {
        let mode = |url| Address::parse(url).unwrap().tls;
        assert_eq!(mode("postgres://db.example.com/dwh"), TlsMode::VerifyFull);
        assert_eq!(mode("postgres://localhost,db.example.com/dwh"), TlsMode::VerifyFull);
        assert_eq!(mode("postgres://127.0.0.1/dwh"), TlsMode::Prefer);
        assert_eq!(mode("postgres://[::1]/dwh"), TlsMode::Prefer);
        assert_eq!(mode("postgres:///dwh?host=/run/postgresql"), TlsMode::Prefer);
        assert_eq!(
            mode("postgres://db/dwh?sslmode=verify-ca&connect_timeout=3"),
            TlsMode::VerifyCa
        );
    }
}
