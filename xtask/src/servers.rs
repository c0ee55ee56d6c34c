//! Database servers for tests and benches: each with data of its own in a temporary folder, on a
//! free port, gone with the value that stands for it or with this process, however it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::{env, thread};

use anyhow::{Context, Result, bail};

use crate::provide;

/// Whether what is committed outlives a power failure. Tests do not need that, and are faster
/// without; a bench that went without would tell less than the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    Yes,
    No,
}

/// A database that tests and benches use.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its name, as people know it.
    pub(crate) name: &'static str,
    /// The environment variable that says where its server is.
    pub(crate) variable: &'static str,
    /// The Debian package.
    package: &'static str,
    /// Folders where Debian puts programs that are not for everyone, by a pattern with one `*`.
    folder: Option<(&'static str, &'static str)>,
    /// The program that serves.
    program: &'static str,
    /// The user that it runs as, where we are root.
    user: &'static str,
    /// What makes an empty database, what serves it, and what succeeds once it serves: commands
    /// of a shell that knows `$DATA`, `$PORT`, and as `$OPTIONS` what follows.
    initialise: &'static str,
    serve: &'static str,
    ready: &'static str,
    /// Options of a server that may lose what it committed.
    not_durable: &'static str,
    /// The URL for a port.
    url: fn(u16) -> String,
}

pub(crate) const KINDS: [Kind; 2] = [POSTGRES, MARIADB];

const POSTGRES: Kind = Kind {
    name: "PostgreSQL",
    variable: "GRISTMILL_POSTGRES",
    package: "postgresql",
    folder: Some(("/usr/lib/postgresql", "bin")),
    program: "postgres",
    user: "postgres",
    initialise: r#"initdb --pgdata="$DATA" --username=gristmill --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync"#,
    serve: r#"postgres -D "$DATA" -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 $OPTIONS"#,
    ready: r#"pg_isready --quiet --host=127.0.0.1 --port="$PORT" --username=gristmill --dbname=postgres"#,
    not_durable: "-c fsync=off -c synchronous_commit=off -c full_page_writes=off",
    url: |port| format!("postgres://gristmill@127.0.0.1:{port}/postgres"),
};

const MARIADB: Kind = Kind {
    name: "MariaDB",
    variable: "GRISTMILL_MYSQL",
    package: "mariadb-server",
    folder: Some(("/", "sbin")),
    program: "mariadbd",
    user: "mysql",
    initialise: r#"sh -c 'mariadb-install-db --no-defaults --datadir="$DATA" --skip-test-db --auth-root-authentication-method=normal && { echo "CREATE USER gristmill@\`127.0.0.1\`;"; echo "GRANT ALL ON *.* TO gristmill@\`127.0.0.1\`;"; } >init.sql'"#,
    serve: r#"mariadbd --no-defaults --datadir="$DATA" --port="$PORT" --bind-address=127.0.0.1 --socket="$FOLDER/socket" --pid-file="$FOLDER/pid" --init-file="$FOLDER/init.sql" --skip-name-resolve --max-connections=200 $OPTIONS"#,
    ready: r#"mariadb-admin --no-defaults --silent --host=127.0.0.1 --port="$PORT" --user=gristmill ping"#,
    not_durable: "--innodb-flush-log-at-trx-commit=0 --skip-innodb-doublewrite",
    url: |port| format!("mysql://gristmill@127.0.0.1:{port}/mysql"),
};

/// What keeps the server: it makes it, says `ready`, and ends it when its input ends, which it
/// does with the process that holds the other end. It runs in a group of its own, so that Ctrl-C
/// is not for it. Commands of a server may not see our input, or they would take its end.
const KEEPER: &str = r#"
trap '' PIPE
as_user() {
    [ -z "$AS" ] || set -- setpriv --reuid="$AS" --regid="$AS" --clear-groups "$@"
    exec "$@"
}
leave() { rm -rf "$FOLDER"; exit "$1"; }
umask 077
mkdir -p "$FOLDER" || exit 1
[ -z "$AS" ] || chown "$AS" "$FOLDER" || leave 1
cd "$FOLDER" || leave 1
(as_user INITIALISE) >log 2>&1 </dev/null || { cat log; leave 1; }
as_user SERVE >log 2>&1 </dev/null &
server=$!
until READY >/dev/null 2>&1 </dev/null; do
    kill -0 $server 2>/dev/null || { cat log; leave 1; }
    sleep 0.05
done
echo ready
read -r _
kill -TERM $server; kill -QUIT $server
wait $server
leave 0
"#;

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) variable: &'static str,
    pub(crate) url: String,
    /// `None` where the server is not ours.
    keeper: Option<Child>,
}

impl Server {
    /// The server that the environment names, or a new one; what it needs is installed where it
    /// is missing.
    pub(crate) fn find(kind: &Kind, durable: Durable) -> Result<Self> {
        match env::var(kind.variable) {
            Ok(url) if !url.is_empty() => Ok(Self { variable: kind.variable, url, keeper: None }),
            _ => Self::start(kind, durable),
        }
    }

    /// A new server with an empty database.
    pub(crate) fn start(kind: &Kind, durable: Durable) -> Result<Self> {
        let programs = kind.programs()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let name = format!("gristmill-{}-{}-{port}", kind.program, process::id());
        let folder = env::temp_dir().join(name);
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path)))?;
        let script = KEEPER
            .replace("INITIALISE", kind.initialise)
            .replace("SERVE", kind.serve)
            .replace("READY", kind.ready);
        let mut keeper = Command::new("sh")
            .args(["-c", &script])
            .env("PATH", path)
            .env("AS", if provide::is_root() { kind.user } else { "" })
            .env("DATA", folder.join("data"))
            .env("FOLDER", &folder)
            .env("PORT", port.to_string())
            .env("OPTIONS", if durable == Durable::No { kind.not_durable } else { "" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start a shell")?;
        let said = keeper.stdout.take().context("the shell has no output")?;
        let mut said = BufReader::new(said);
        let server = Self { variable: kind.variable, url: (kind.url)(port), keeper: Some(keeper) };
        let mut line = String::new();
        said.read_line(&mut line)?;
        if line != "ready\n" {
            said.read_to_string(&mut line)?;
            bail!("{} does not start:\n{}", kind.name, line.trim_end());
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            drop(keeper.stdin.take());
            // It ends by itself; there is nobody to tell why it does not.
            let _ = keeper.wait();
        }
    }
}

impl Kind {
    /// The folder of its programs.
    fn programs(&self) -> Result<PathBuf> {
        if let Some(there) = self.installed() {
            return Ok(there);
        }
        provide::apt_install(self.package)
            .with_context(|| format!("{} is not there; install {}", self.name, self.package))?;
        self.installed().with_context(|| format!("{} has no `{}`", self.package, self.program))
    }

    /// Debian's newest version, or what is on the path.
    fn installed(&self) -> Option<PathBuf> {
        let has_program = |folder: &PathBuf| folder.join(self.program).is_file();
        let debian = self.folder.and_then(|(parent, below)| {
            let versions = fs::read_dir(parent).ok()?.flatten();
            let mut folders: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
            folders.sort_by_key(|folder| version(folder));
            folders.into_iter().rev().map(|folder| folder.join(below)).find(has_program)
        });
        debian.or_else(|| env::split_paths(&env::var_os("PATH")?).find(has_program))
    }
}

fn version(folder: &Path) -> u32 {
    folder.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

/// Starts all servers, says where they are, and keeps them until it is interrupted.
pub(crate) fn keep(durable: Durable) -> Result<()> {
    let servers = KINDS.iter().map(|kind| Server::start(kind, durable));
    let servers = servers.collect::<Result<Vec<_>>>()?;
    for server in &servers {
        println!("export {}={}", server.variable, server.url);
    }
    eprintln!("Ctrl-C ends them");
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A server that takes no connections, of programs that are everywhere.
    const SLEEPER: Kind = Kind {
        name: "Sleeper",
        variable: "GRISTMILL_SLEEPER",
        package: "none",
        folder: None,
        program: "sleep",
        user: "root",
        initialise: r#"mkdir "$DATA""#,
        serve: "sh -c 'echo $$; exec sleep 1000'",
        ready: "grep -q . log",
        not_durable: "",
        url: |port| port.to_string(),
    };

    /// Its folder and its process.
    fn traces(server: &Server) -> (PathBuf, String) {
        let name = format!("gristmill-sleep-{}-{}", process::id(), server.url);
        let folder = env::temp_dir().join(name);
        let process = fs::read_to_string(folder.join("log")).unwrap().trim().to_owned();
        assert!(is_running(&process));
        (folder, process)
    }

    fn is_running(process: &str) -> bool {
        let kill = Command::new("sh").args(["-c", &format!("kill -0 {process}")]).output();
        kill.unwrap().status.success()
    }

    #[test]
    fn nothing_is_left_of_a_server() {
        let server = Server::start(&SLEEPER, Durable::No).unwrap();
        let (folder, process) = traces(&server);
        assert!(folder.join("data").is_dir());
        drop(server);
        assert!(!folder.exists() && !is_running(&process));
    }

    #[test]
    fn a_server_ends_with_the_process_that_holds_it() {
        let mut server = Server::start(&SLEEPER, Durable::No).unwrap();
        let (folder, process) = traces(&server);
        // As the kernel does when the process is killed.
        drop(server.keeper.as_mut().unwrap().stdin.take());
        let begin = Instant::now();
        while folder.exists() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{} stays", folder.display());
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!is_running(&process));
    }

    #[test]
    fn a_server_that_does_not_start_says_why() {
        let kind = Kind { serve: "sh -c 'echo no room; exit 1'", ready: "false", ..SLEEPER };
        let error = Server::start(&kind, Durable::No).unwrap_err();
        assert!(error.to_string().contains("no room"), "{error}");
    }
}
