//! Where the programs are.

use std::path::PathBuf;
use std::process::Command;

/// A program that a suite needs.
pub(crate) struct Program {
    /// What it is called on the path.
    pub(crate) name: &'static str,
    /// What names it where it is elsewhere.
    pub(crate) variable: &'static str,
    /// How to get it.
    pub(crate) how: &'static str,
}

pub(crate) const DAPRD: Program = Program {
    name: "daprd",
    variable: "ANNALS_DAPRD",
    how: "install the Dapr CLI and run `dapr init --slim`, or build it with `eval \"$(.ci/parts)\"` (needs Go)",
};
pub(crate) const REDIS: Program = Program {
    name: "redis-server",
    variable: "ANNALS_REDIS_SERVER",
    how: "apt-get install redis-server, or `eval \"$(.ci/parts)\"`",
};
pub(crate) const NATS: Program = Program {
    name: "nats-server",
    variable: "ANNALS_NATS_SERVER",
    how: "apt-get install nats-server, or `eval \"$(.ci/parts)\"`",
};
pub(crate) const RABBITMQ: Program = Program {
    name: "rabbitmq-server",
    variable: "ANNALS_RABBITMQ_SERVER",
    how: "apt-get install rabbitmq-server, or `eval \"$(.ci/parts)\"`",
};

impl Program {
    /// A command that runs it, and that ends it when the thread that started it ends in whatever way: so it is to be
    /// started by a test's own thread, not by one of a pool.
    pub(crate) fn command(&self) -> Command {
        let program = self.path();
        match on_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        let missing = || panic!("{} is missing: {}; or name it with {}", self.name, self.how, self.variable);
        self.find().unwrap_or_else(missing)
    }

    fn find(&self) -> Option<PathBuf> {
        let named = std::env::var_os(self.variable).filter(|path| !path.is_empty()).map(PathBuf::from);
        let cached = || home().map(|home| home.join(".cache/annals-ci/bin").join(self.name));
        let of_dapr = || home().map(|home| home.join(".dapr/bin").join(self.name));
        named
            .or_else(|| on_path(self.name))
            .or_else(|| [cached(), of_dapr()].into_iter().flatten().find(|path| path.is_file()))
    }
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps what only administrators used to run.
    let extra = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    // Debian's script on the path runs RabbitMQ as another user, who may not write into our directories.
    let first = (name == RABBITMQ.name).then(|| PathBuf::from("/usr/lib/rabbitmq/bin"));
    first
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(extra)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
