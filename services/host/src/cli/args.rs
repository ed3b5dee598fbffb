//! What can be said on the command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use annals_bus::Compatibility;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::storage::{StorageArgs, duration};
use crate::telemetry::LogFormat;

/// Event-sourced services: run them, look into them, mend them.
#[derive(Debug, Parser)]
#[command(name = "annals", version, about, max_term_width = 110)]
pub(super) struct Cli {
    /// Print JSON: one document, or one line for each item of a list.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// How logs look; they go to stderr. ANNALS_LOG says what is logged (default: info).
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) log: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run all services on one address, with temporary data unless --data is given. Not for production.
    Dev(DevArgs),
    /// Run one service, for deployment.
    Serve(ServeArgs),
    /// Look at streams of events.
    Streams {
        #[command(subcommand)]
        command: StreamsCommand,
    },
    /// Look at aggregate instances.
    Aggregate {
        #[command(subcommand)]
        command: AggregateCommand,
    },
    /// How events flow: what carries them, what is published and handled, and what keeps any of it up.
    Bus {
        /// Only this service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// Where the service runs [default: http:// and the address of ANNALS_LISTEN, or 127.0.0.1:8080].
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Schemas of topics.
    Schema {
        #[command(subcommand)]
        command: SchemaCommand,
    },
    /// Dead letters: events that a subscription could not handle.
    Dlq {
        #[command(subcommand)]
        command: DlqCommand,
    },
    /// The journal's files.
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Print what this program is made of: services, aggregates, events, topics.
    Describe,
    /// Explain the code of an error; without a code, list all.
    Explain {
        /// The code, such as version_conflict.
        code: Option<String>,
    },
    /// Print a completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    pub(super) fn runs_services(&self) -> bool {
        matches!(self, Self::Dev(_) | Self::Serve(_))
    }
}

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(
        long, env = "ANNALS_LISTEN", default_value = "127.0.0.1:8080", value_parser = address, value_name = "ADDR"
    )]
    pub(super) listen: SocketAddr,
    /// Where to keep data; without it, a temporary directory that is removed at the end.
    #[arg(long, env = "ANNALS_DATA", value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Connect the services through Dapr: a sidecar for each is started, and stopped at the end.
    #[arg(long)]
    pub(super) dapr: bool,
    /// The sidecars' components [default: ~/.dapr/components, where `dapr init` puts them].
    #[arg(long, env = "ANNALS_DAPR_RESOURCES", value_name = "DIR", requires = "dapr")]
    pub(super) dapr_resources: Option<PathBuf>,
    /// The pub/sub component's name.
    #[arg(long, env = "ANNALS_PUBSUB", value_name = "NAME", default_value = "pubsub")]
    pub(super) pubsub: String,
    #[command(flatten)]
    pub(super) storage: StorageArgs,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Which service.
    #[arg(long, value_name = "NAME")]
    pub(super) service: String,
    /// Where to listen; port 0 takes a free one.
    #[arg(
        long, env = "ANNALS_LISTEN", default_value = "127.0.0.1:8080", value_parser = address, value_name = "ADDR"
    )]
    pub(super) listen: SocketAddr,
    /// Where to keep data.
    #[arg(long, env = "ANNALS_DATA", value_name = "DIR")]
    pub(super) data: PathBuf,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) storage: StorageArgs,
}

/// What carries a service's events.
#[derive(Debug, Args)]
pub(super) struct BrokerArgs {
    /// What carries integration events.
    #[arg(long, env = "ANNALS_BROKER", value_enum, default_value_t, value_name = "BROKER")]
    pub(super) broker: BrokerKind,
    /// The pub/sub component's name.
    #[arg(long, env = "ANNALS_PUBSUB", value_name = "NAME", default_value = "pubsub")]
    pub(super) pubsub: String,
    /// The sidecar's gRPC API [default: 127.0.0.1 and the port of DAPR_GRPC_PORT, or 50001].
    #[arg(long, env = "DAPR_GRPC_ENDPOINT", value_name = "URL")]
    pub(super) dapr_endpoint: Option<String>,
    /// How the sidecar brings events: over HTTP to the listen address, or over gRPC to the app's.
    #[arg(long, env = "ANNALS_APP_CHANNEL", value_enum, default_value_t, value_name = "CHANNEL")]
    pub(super) app_channel: ChannelKind,
    /// Where to listen for the sidecar over gRPC; its --app-port.
    #[arg(
        long, env = "ANNALS_APP_LISTEN", default_value = "127.0.0.1:50051", value_parser = address, value_name = "ADDR"
    )]
    pub(super) app_listen: SocketAddr,
}

/// The brokers there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum BrokerKind {
    /// None: events stay in the journal.
    #[default]
    None,
    /// A Dapr sidecar. DAPR_API_TOKEN opens its API; APP_API_TOKEN is what it shows.
    Dapr,
}

/// How a sidecar reaches its app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ChannelKind {
    /// Over gRPC.
    #[default]
    Grpc,
    /// Over HTTP.
    Http,
}

/// Which services to look at, and where.
#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// Only this service.
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
    /// Where the service runs [default: http:// and the address of ANNALS_LISTEN, or 127.0.0.1:8080].
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub(super) url: Option<String>,
    /// The data directory of a service that is stopped.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum StreamsCommand {
    /// List streams.
    Ls {
        /// Only streams whose names begin so.
        #[arg(long, default_value = "", hide_default_value = true)]
        prefix: String,
        /// The runtime's own streams too; their names begin with $.
        #[arg(long)]
        internal: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Print a stream's events.
    Show {
        /// The stream, such as order-42.
        stream: String,
        /// From this version on.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// From new to old.
        #[arg(long)]
        reverse: bool,
        /// At most so many.
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
        #[command(flatten)]
        target: Target,
    },
    /// Print events as they happen, of one stream or of all.
    Tail {
        /// Only this stream.
        stream: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AggregateCommand {
    /// Print an instance's state.
    Show {
        /// The aggregate's type, such as order.
        #[arg(value_name = "TYPE")]
        type_name: String,
        /// The instance's id.
        id: String,
        /// As it was at this version, or at this time (RFC 3339).
        #[arg(long, value_name = "N|TIME")]
        at: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SchemaCommand {
    /// List topics and the last version of each.
    Ls(Target),
    /// Print a topic's schema.
    Show {
        /// The topic.
        topic: String,
        /// This version, not the last.
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        #[command(flatten)]
        target: Target,
    },
    /// Say whether a schema could follow the topic's last one; exit code 1 when not, with every reason.
    Check {
        #[command(flatten)]
        given: GivenSchema,
        #[command(flatten)]
        target: Target,
    },
    /// Register a schema as the topic's next version, with a running service.
    Register {
        #[command(flatten)]
        given: GivenSchema,
        #[command(flatten)]
        target: Target,
    },
}

/// A topic and a schema for it.
#[derive(Debug, Args)]
pub(super) struct GivenSchema {
    /// The topic.
    pub(super) topic: String,
    /// The file with the schema.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// By this mode instead of the topic's (none, backward, forward, full); registering sets it.
    #[arg(long, value_name = "MODE")]
    pub(super) compatibility: Option<Compatibility>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DlqCommand {
    /// List dead letters.
    Ls(Target),
    /// Handle a dead letter again, or all of them.
    // Left to itself, the usage shows the id alone as what is required.
    #[command(override_usage = "annals dlq replay [OPTIONS] <ID>\n       annals dlq replay [OPTIONS] --all")]
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The dead letter's id.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) id: Option<String>,
    /// All of them.
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Check every byte of a stopped service's journal; nothing is changed.
    Verify(VerifyArgs),
    /// Cut damage off a stopped service's journal, with all behind it: says what would be cut, and does it with --yes.
    Repair(RepairArgs),
    /// Give back the space of what a stopped service's journal no longer keeps. A running one does so by itself.
    Scavenge(ScavengeArgs),
}

#[derive(Debug, Args)]
pub(super) struct ScavengeArgs {
    /// The data directory.
    #[arg(long, env = "ANNALS_DATA", value_name = "DIR")]
    pub(super) data: PathBuf,
    /// Only this service.
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
    /// How long a request is remembered under its Idempotency-Key.
    #[arg(long, env = "ANNALS_KEYS_KEPT", value_name = "DURATION", default_value = "1d", value_parser = duration)]
    pub(super) keys_kept: Duration,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only this service.
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
    /// The data directory.
    #[arg(long, env = "ANNALS_DATA", value_name = "DIR")]
    pub(super) data: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// The data directory.
    #[arg(long, env = "ANNALS_DATA", value_name = "DIR")]
    pub(super) data: PathBuf,
    /// Only this service.
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
    /// Do it; what is cut off is kept beside the journal.
    #[arg(long)]
    pub(super) yes: bool,
}

/// Reads an address; a host's name is looked up.
fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("not an address: {error}"))?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Cli;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_anywhere() {
        let cli = Cli::try_parse_from(["x", "streams", "ls", "--json", "--log", "json"]).unwrap();
        assert!(cli.json);
    }

    #[test]
    fn wrong_usage_is_two() {
        for line in [
            "x",
            "x serve --service a",
            "x serve --data d",
            "x dlq replay",
            "x dlq replay a --all",
            "x dev --listen nonsense",
            "x streams ls --url u --data d",
            "x explode",
        ] {
            // The environment's twins would stand in for what is missing.
            if std::env::var_os("ANNALS_DATA").is_some() {
                return;
            }
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
