//! What `[client]` in `~/.my.cnf` says
//! (<https://mariadb.com/kb/en/configuring-mariadb-with-option-files/>).

use std::fs;
use std::path::{Path, PathBuf};

use gristmill_core::{Error, ErrorKind, Result};

use crate::password::is_open_to_others;

/// What clients take from the file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Client {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Reads the file, if it is there.
pub(super) fn read() -> Result<Client> {
    let file: Option<PathBuf> =
        std::env::var_os("HOME").map(|home| Path::new(&home).join(".my.cnf"));
    let Some(file) = file.filter(|file| file.is_file()) else { return Ok(Client::default()) };
    let text = fs::read_to_string(&file)
        .map_err(|e| Error::io(format!("cannot read the option file `{}`", file.display()), e))?;
    let client = parse(&text);
    if client.password.is_some() && is_open_to_others(&file) {
        return Err(Error::new(
            ErrorKind::Permission,
            format!("others may read the passwords in `{}`", file.display()),
        )
        .hint(format!("run: chmod 600 {}", file.display())));
    }
    Ok(client)
}

fn parse(text: &str) -> Client {
    let mut client = Client::default();
    let mut group = "";
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';', '!']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            group = name.trim();
            continue;
        }
        if group != "client" {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let value = Some(value_of(value.trim())).filter(|value| !value.is_empty());
        match key.trim() {
            "host" => client.host = value,
            "port" => client.port = value.and_then(|port| port.parse().ok()),
            "user" => client.user = value,
            "password" => client.password = value,
            _ => {}
        }
    }
    client
}

/// Without quotes, a comment behind it, and the escapes of option files.
fn value_of(text: &str) -> String {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let text = match quote {
        Some(quote) => text[1..].rsplit_once(quote).map_or(&text[1..], |(text, _)| text),
        None => text.split_once(" #").map_or(text, |(text, _)| text.trim_end()),
    };
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('s') => value.push(' '),
                Some('t') => value.push('\t'),
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('b') => value.push('\u{8}'),
                other => value.extend(other),
            },
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_read_their_own_group() {
        let text = "[mysqld]\npassword=no\n# x\n[client]\nuser = ann\nport=3307\n\
                    password=\"a#b\\\\c\" # mine\nhost=db # there\n[mysqldump]\nuser=bob\n";
        let client = Client {
            host: Some("db".to_owned()),
            port: Some(3307),
            user: Some("ann".to_owned()),
            password: Some("a#b\\c".to_owned()),
        };
        assert_eq!(parse(text), client);
        assert_eq!(parse("password=x"), Client::default());
    }
}
