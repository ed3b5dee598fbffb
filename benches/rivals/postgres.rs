//! A Postgres server of the bench's own, as `initdb` sets it up: what was committed is on the disk.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use annals_benches::Failure;
use annals_parts::{PATIENCE, Process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tempfile::TempDir;

mod account;
mod programs;

use account::Account;
use programs::Programs;

const SUPERUSER: &str = "annals";
/// Only part of the socket's name: there is no other in its directory, and the server listens nowhere else.
const PORT: u16 = 5432;

/// A running server. It stops when it is dropped; with `setpriv`, also when the thread that started it ends.
pub(crate) struct Postgres {
    process: Process,
    account: Account,
    programs: Programs,
    /// Apart from the data, whose path may be longer than that of a socket can be.
    socket: TempDir,
    data: TempDir,
}

impl Postgres {
    /// Starts one with its data in this directory.
    ///
    /// # Errors
    /// That Postgres is not on this machine and how to get it, or what it said.
    pub(crate) fn start(data: TempDir) -> Result<Self, Failure> {
        let (programs, socket) = (Programs::find()?, TempDir::new()?);
        let account = Account::beside_root(data.path())?;
        account.give(data.path())?;
        account.give(socket.path())?;
        run(&mut initdb(&account, &programs, &data))?;
        let process =
            Process::start(server(&account, &programs, &data, &socket), &data.path().join("postgres.log"));
        Ok(Self { process, account, programs, socket, data })
    }

    /// How it is reached.
    pub(crate) fn address(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().socket(self.socket.path()).port(PORT);
        options.username(SUPERUSER).database("postgres")
    }

    /// Connects as soon as it takes connections.
    ///
    /// # Errors
    /// What it said, when it ends instead or takes too long.
    pub(crate) async fn connect(&mut self) -> Result<PgConnection, Failure> {
        const PAUSE: Duration = Duration::from_millis(10);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.address().connect().await {
                Ok(connection) => return Ok(connection),
                Err(error) if self.process.has_ended() || Instant::now() >= deadline => {
                    let said = self.process.said();
                    return Err(format!("Postgres takes no connections: {error}; it said\n{said}").into());
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn stop(&self) -> Result<(), Failure> {
        let mut stop = self.account.command(&self.programs.pg_ctl(), self.data.path());
        run(stop.arg("-D").arg(cluster(&self.data)).args(["stop", "-m", "fast", "-w"]))
    }
}

impl Drop for Postgres {
    /// In good order, so that it leaves no shared memory behind; where that fails, `Process` kills it.
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error}");
        }
    }
}

/// Where initdb puts it: it is to make the directory itself.
fn cluster(data: &TempDir) -> PathBuf {
    data.path().join("cluster")
}

/// What makes the data. All that it does not set is as Postgres comes, the syncs above all.
fn initdb(account: &Account, programs: &Programs, data: &TempDir) -> Command {
    let mut command = account.command(&programs.initdb(), data.path());
    command.arg("-D").arg(cluster(data)).args(["--username", SUPERUSER, "--auth", "trust"]);
    command.args(["--encoding", "UTF8", "--no-locale"]);
    command
}

fn server(account: &Account, programs: &Programs, data: &TempDir, socket: &TempDir) -> Command {
    let mut command = account.command_that_ends_with_us(&programs.postgres(), data.path());
    command.arg("-D").arg(cluster(data)).arg("-k").arg(socket.path());
    command.args(["-p", &PORT.to_string(), "-c", "listen_addresses="]);
    command
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?} ended with {}; it said\n{}", output.status, String::from_utf8_lossy(&said))
        .into())
}
