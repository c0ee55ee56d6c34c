//! Database servers for tests and benches: each with data of its own in a temporary folder, on a
//! free port, gone with the value that stands for it or with this process, however it ends. A test
//! that ends its server, or wants one that is set up in some way, starts one of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdout, Command, Stdio};
use std::{env, fmt};

use anyhow::{Context, Result, bail};

/// Whether what is committed outlives a power failure. Tests do not need that, and are faster
/// without; a bench that went without would tell less than the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// It does.
    Yes,
    /// It need not.
    No,
}

/// A database that tests and benches use.
#[derive(Debug)]
pub struct Kind {
    /// Its name, as people know it.
    pub name: &'static str,
    /// The environment variable that says where its server is.
    pub variable: &'static str,
    /// The Debian package.
    pub package: &'static str,
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
    /// The signal that ends it at once, without a word to its files.
    kill: &'static str,
    /// Options of a server that may lose what it committed.
    not_durable: &'static str,
    /// The URL for a port.
    url: fn(u16) -> String,
}

/// All kinds.
pub const KINDS: [Kind; 2] = [POSTGRES, MARIADB];

/// PostgreSQL.
pub const POSTGRES: Kind = Kind {
    name: "PostgreSQL",
    variable: "GRISTMILL_POSTGRES",
    package: "postgresql",
    folder: Some(("/usr/lib/postgresql", "bin")),
    program: "postgres",
    user: "postgres",
    initialise: r#"initdb --pgdata="$DATA" --username=gristmill --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync"#,
    serve: r#"postgres -D "$DATA" -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 $OPTIONS"#,
    ready: r#"pg_isready --quiet --host=127.0.0.1 --port="$PORT" --username=gristmill --dbname=postgres"#,
    kill: "QUIT",
    not_durable: "-c fsync=off -c synchronous_commit=off -c full_page_writes=off",
    url: |port| format!("postgres://gristmill@127.0.0.1:{port}/postgres"),
};

/// MariaDB.
pub const MARIADB: Kind = Kind {
    name: "MariaDB",
    variable: "GRISTMILL_MYSQL",
    package: "mariadb-server",
    folder: Some(("/", "sbin")),
    program: "mariadbd",
    user: "mysql",
    initialise: r#"sh -c 'mariadb-install-db --no-defaults --datadir="$DATA" --skip-test-db --auth-root-authentication-method=normal && { echo "CREATE USER IF NOT EXISTS gristmill@\`127.0.0.1\`;"; echo "GRANT ALL ON *.* TO gristmill@\`127.0.0.1\` WITH GRANT OPTION;"; } >init.sql'"#,
    serve: r#"mariadbd --no-defaults --datadir="$DATA" --port="$PORT" --bind-address=127.0.0.1 --socket="$FOLDER/socket" --pid-file="$FOLDER/pid" --init-file="$FOLDER/init.sql" --skip-name-resolve --max-connections=200 $OPTIONS"#,
    ready: r#"mariadb-admin --no-defaults --silent --host=127.0.0.1 --port="$PORT" --user=gristmill ping"#,
    kill: "KILL",
    not_durable: "--innodb-flush-log-at-trx-commit=0 --skip-innodb-doublewrite",
    url: |port| format!("mysql://gristmill@127.0.0.1:{port}/mysql"),
};

/// What a server has that others of its kind do not have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// Commands of a shell that are run in the server's folder, as its user, before it starts.
    pub before: &'a str,
    /// Options of the server; they know `$FOLDER`.
    pub options: &'a str,
}

/// What keeps the server: it makes it, says `ready`, and ends it when its input ends, which it
/// does with the process that holds the other end. It runs in a group of its own, so that Ctrl-C
/// is not for it. Until then it does what its input says. Commands of a server may not see that
/// input, or they would take its end.
const KEEPER: &str = r#"
trap '' PIPE
as_user() {
    [ -z "$AS" ] || set -- setpriv --reuid="$AS" --regid="$AS" --clear-groups "$@"
    exec "$@"
}
leave() { rm -rf "$FOLDER"; exit "$1"; }
start() {
    as_user SERVE >log 2>&1 </dev/null &
    server=$!
    until READY >/dev/null 2>&1 </dev/null; do
        kill -0 $server 2>/dev/null || { cat log; leave 1; }
        sleep 0.05
    done
    echo ready
}
umask 077
mkdir -p "$FOLDER" || exit 1
[ -z "$AS" ] || chown "$AS" "$FOLDER" || leave 1
cd "$FOLDER" || leave 1
(as_user INITIALISE) >log 2>&1 </dev/null || { cat log; leave 1; }
(as_user sh -ec "$BEFORE") >log 2>&1 </dev/null || { cat log; leave 1; }
start
while read -r order; do
    case $order in
        start) start ;;
        kill) kill -s KILL_WITH $server; wait $server; echo killed ;;
        limit*) (as_user prlimit --pid=$server --fsize="${order#limit }") && echo limited ;;
    esac
done
kill -TERM $server; kill -QUIT $server
wait $server
leave 0
"#;

/// A running server. It ends when this is dropped.
pub struct Server {
    /// The environment variable that says where a server of its kind is.
    pub variable: &'static str,
    /// Where it is.
    pub url: String,
    /// What is its own: its data, and what was made before it started.
    pub folder: PathBuf,
    /// `None` where the server is not ours.
    keeper: Option<Keeper>,
}

/// The other end of the process that keeps a server.
struct Keeper {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Keeper {
    /// Waits until it says this.
    fn expect(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        if line.trim_end() != word {
            self.said.read_to_string(&mut line)?;
            bail!("{}", line.trim_end());
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Server {
    /// The server that the environment names.
    pub fn named(kind: &Kind) -> Option<Self> {
        let url = env::var(kind.variable).ok().filter(|url| !url.is_empty())?;
        Some(Self { variable: kind.variable, url, folder: PathBuf::new(), keeper: None })
    }

    /// A server of a test's own, where tests have one at all; what it commits stays when it is
    /// killed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn own(kind: &Kind, setup: Setup<'_>) -> Option<Self> {
        Self::named(kind)?;
        let server = Self::set_up(kind, Durable::Yes, setup);
        Some(server.unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// A new server with an empty database.
    ///
    /// # Errors
    /// When its programs are not there, or it does not start.
    pub fn start(kind: &Kind, durable: Durable) -> Result<Self> {
        Self::set_up(kind, durable, Setup::default())
    }

    fn set_up(kind: &Kind, durable: Durable, setup: Setup<'_>) -> Result<Self> {
        let programs = kind.programs();
        let programs = programs
            .with_context(|| format!("{} is not there; install {}", kind.name, kind.package))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let name = format!("gristmill-{}-{}-{port}", kind.program, process::id());
        let folder = env::temp_dir().join(name);
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path)))?;
        let script = KEEPER
            .replace("INITIALISE", kind.initialise)
            .replace(
                "SERVE",
                &kind.serve.replace("$OPTIONS", &format!("$OPTIONS {}", setup.options)),
            )
            .replace("READY", kind.ready)
            .replace("KILL_WITH", kind.kill);
        let mut process = Command::new("sh")
            .args(["-c", &script])
            .env("PATH", path)
            .env("AS", if is_root() { kind.user } else { "" })
            .env("DATA", folder.join("data"))
            .env("FOLDER", &folder)
            .env("PORT", port.to_string())
            .env("OPTIONS", if durable == Durable::No { kind.not_durable } else { "" })
            .env("BEFORE", setup.before)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start a shell")?;
        let said = process.stdout.take().context("the shell has no output")?;
        let mut keeper = Keeper { process, said: BufReader::new(said) };
        let started = keeper.expect("ready");
        let url = (kind.url)(port);
        let server = Self { variable: kind.variable, url, folder, keeper: Some(keeper) };
        started.with_context(|| format!("{} does not start", kind.name))?;
        Ok(server)
    }

    /// Ends it at once, as a power failure does.
    ///
    /// # Panics
    /// When it is not ours, or does not end.
    pub fn kill(&mut self) {
        self.order("kill", "killed");
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.order("start", "ready");
    }

    /// Lets no file of new connections grow beyond so many bytes, or, without, as they like.
    ///
    /// # Panics
    /// When it is not ours, or the system has no `prlimit`.
    pub fn limit_files(&mut self, bytes: Option<u64>) {
        let bytes = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        self.order(&format!("limit {bytes}:"), "limited");
    }

    fn order(&mut self, order: &str, answer: &str) {
        let keeper = self.keeper.as_mut().expect("the server is ours");
        let input = keeper.process.stdin.as_mut().expect("the shell has an input");
        writeln!(input, "{order}").expect("the shell listens");
        keeper.expect(answer).unwrap_or_else(|error| panic!("`{order}`: {error:#}"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(Keeper { process, .. }) = &mut self.keeper {
            drop(process.stdin.take());
            // It ends by itself; there is nobody to tell why it does not.
            let _ = process.wait();
        }
    }
}

impl Kind {
    /// The folder of its programs: Debian's newest version, or what is on the path.
    pub fn programs(&self) -> Option<PathBuf> {
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

/// Whether we are root, whom servers do not run as.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n")
}

#[cfg(test)]
mod tests {
    use std::thread;
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
        kill: "KILL",
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
        drop(server.keeper.as_mut().unwrap().process.stdin.take());
        let begin = Instant::now();
        while folder.exists() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{} stays", folder.display());
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!is_running(&process));
    }

    #[test]
    fn a_server_can_be_killed_and_started_again() {
        let mut server = Server::start(&SLEEPER, Durable::No).unwrap();
        let (folder, process) = traces(&server);
        server.kill();
        assert!(!is_running(&process));
        server.start_again();
        let (_, again) = traces(&server);
        assert_ne!(process, again);
        drop(server);
        assert!(!folder.exists() && !is_running(&again));
    }

    #[test]
    fn a_server_that_does_not_start_says_why() {
        let kind = Kind { serve: "sh -c 'echo no room; exit 1'", ready: "false", ..SLEEPER };
        let error = Server::start(&kind, Durable::No).unwrap_err();
        assert!(format!("{error:#}").contains("no room"), "{error:#}");
    }
}
