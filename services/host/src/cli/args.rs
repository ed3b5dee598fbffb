//! What can be said on the command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use annals_bus::Compatibility;
use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, value_parser};

use super::storage::{StorageArgs, duration};
use crate::stop::STOP_WITHIN;
use crate::telemetry::LogFormat;

/// Where flags stand that every command has.
const LAST: usize = 900;

/// Event-sourced services: run them, look into them, mend them.
#[derive(Debug, Parser)]
#[command(name = "annals", version, max_term_width = 110)]
pub(super) struct Cli {
    /// Print JSON: one document, or one line for each item of a list.
    #[arg(long, global = true, display_order = LAST, env = "ANNALS_JSON", value_parser = BoolishValueParser::new())]
    pub(super) json: bool,
    /// How logs look; they go to stderr. ANNALS_LOG says what is logged.
    #[arg(
        long,
        global = true,
        display_order = LAST, env = "ANNALS_LOG_FORMAT",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(super) log: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// What is wrong with it; help and version come this way too.
    pub(super) fn of_process() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        says_what_is_used(&matches)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let (Command::Serve(serve), Some(("serve", given))) = (&mut cli.command, matches.subcommand()) {
            let source = given.value_source("topic_pubsub");
            serve.broker.components.are_shared = source == Some(ValueSource::EnvVariable);
        }
        Ok(cli)
    }
}

/// Flags of `serve` and `dev` that do nothing without a sidecar.
const OF_SIDECARS: [&str; 9] = [
    "pubsub",
    "topic_pubsub",
    "dapr_endpoint",
    "dapr_http_endpoint",
    "dapr_ca",
    "subscriptions",
    "app_channel",
    "app_listen",
    "dapr_resources",
];

/// A flag that would do nothing was meant to do something. Its environment twin may be set for other commands.
fn says_what_is_used(matches: &ArgMatches) -> Result<(), clap::Error> {
    let (run, wanted) = match matches.subcommand() {
        Some(("dev", dev)) if !dev.get_flag("dapr") => (dev, "--dapr"),
        Some(("serve", serve)) if serve.get_one("broker") != Some(&BrokerKind::Dapr) => {
            (serve, "--broker dapr")
        }
        _ => return Ok(()),
    };
    let given = |flag: &&&str| {
        run.try_contains_id(flag).is_ok() && run.value_source(flag) == Some(ValueSource::CommandLine)
    };
    let Some(flag) = OF_SIDECARS.iter().find(given) else { return Ok(()) };
    let message = format!("--{} is for a sidecar: give {wanted} too", flag.replace('_', "-"));
    Err(Cli::command().error(ErrorKind::MissingRequiredArgument, message))
}

/// A build without Dapr takes the flags for it, to say why they do nothing, and does not offer them.
const WITHOUT_DAPR: bool = cfg!(not(feature = "dapr"));

/// What is said in the environment alone: everybody on the machine sees a command line.
#[cfg(feature = "dapr")]
const ENVIRONMENT: &str = "\
Environment without a flag:
  ANNALS_LOG          What is logged: a level, or levels by module as in info,annals_bus=debug [default: info].
  ANNALS_ADMIN_TOKEN  Opens the admin API from other machines, as `Authorization: Bearer`.
  DAPR_API_TOKEN      Opens the sidecar's API, where it was started with the same.
  APP_API_TOKEN       What the sidecar shows with deliveries, where it was started with the same.
  ANNALS_DAPRD        The daprd that `dev --dapr` starts [default: on the path, or in ~/.dapr/bin].";
#[cfg(not(feature = "dapr"))]
const ENVIRONMENT: &str = "\
Environment without a flag:
  ANNALS_LOG          What is logged: a level, or levels by module as in info,annals_bus=debug [default: info].
  ANNALS_ADMIN_TOKEN  Opens the admin API from other machines, as `Authorization: Bearer`.

This program was built without Dapr: nothing carries events to other processes. `--features dapr` builds it with it.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run all services on one address, with temporary data unless --data is given. Not for production.
    #[command(after_help = ENVIRONMENT)]
    Dev(DevArgs),
    /// Run one service, for deployment.
    #[command(after_help = ENVIRONMENT)]
    Serve(ServeArgs),
    /// Look at streams of events.
    Streams {
        #[command(subcommand)]
        command: StreamsCommand,
    },
    /// Look at aggregate instances, and have them make checkpoints.
    Aggregate {
        #[command(subcommand)]
        command: AggregateCommand,
    },
    /// How events flow: what carries them, what is published and handled, and what keeps any of it up.
    Bus(RunningTarget),
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
    /// Where to listen for HTTP; port 0 takes a free one.
    #[arg(
        long, env = "ANNALS_LISTEN", default_value = "127.0.0.1:8080", value_parser = address, value_name = "ADDR"
    )]
    pub(super) listen: SocketAddr,
    /// Where to keep data; without it, a temporary directory that is removed at the end.
    #[arg(long, env = "ANNALS_DATA", value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Connect the services through Dapr: a sidecar for each is started, and ends with the services.
    #[arg(long, hide = WITHOUT_DAPR, env = "ANNALS_DAPR", value_parser = BoolishValueParser::new())]
    pub(super) dapr: bool,
    /// With --dapr: the directory of the sidecars' components [default: ~/.dapr/components, where `dapr init` puts them].
    #[arg(long, hide = WITHOUT_DAPR, env = "ANNALS_DAPR_RESOURCES", value_name = "DIR")]
    pub(super) dapr_resources: Option<PathBuf>,
    #[command(flatten)]
    pub(super) components: ComponentArgs,
    #[command(flatten)]
    pub(super) stop: StopArgs,
    #[command(flatten)]
    pub(super) storage: StorageArgs,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Which service to run; `describe` lists them.
    #[arg(long, env = "ANNALS_SERVICE", value_name = "NAME")]
    pub(super) service: String,
    /// Where to listen for HTTP; port 0 takes a free one.
    #[arg(
        long, env = "ANNALS_LISTEN", default_value = "127.0.0.1:8080", value_parser = address, value_name = "ADDR"
    )]
    pub(super) listen: SocketAddr,
    /// Where to keep data; a directory for the service is made in it.
    #[arg(long, env = "ANNALS_DATA", value_name = "DIR")]
    pub(super) data: PathBuf,
    #[command(flatten)]
    pub(super) broker: BrokerArgs,
    #[command(flatten)]
    pub(super) stop: StopArgs,
    #[command(flatten)]
    pub(super) storage: StorageArgs,
}

/// How services stop.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// How long stopping may take in all, in seconds, from SIGTERM or Ctrl-C on: what is still under way then is cut. A
    /// second signal stops at once.
    #[arg(
        long, env = "ANNALS_STOP_WITHIN", value_name = "SECONDS", default_value_t = STOP_WITHIN.as_secs(),
        value_parser = value_parser!(u64).range(1..=3600)
    )]
    stop_within: u64,
}

impl StopArgs {
    pub(super) fn within(&self) -> Duration {
        Duration::from_secs(self.stop_within)
    }
}

/// Which of a sidecar's components carry a service's events.
#[derive(Debug, Args)]
pub(super) struct ComponentArgs {
    /// Which of the sidecar's pub/sub components carries the events, by its name.
    #[arg(
        long, hide = WITHOUT_DAPR, env = "ANNALS_PUBSUB", value_name = "NAME", default_value = "pubsub",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(super) pubsub: String,
    /// A topic that another of its components carries, for several with commas; without it, --pubsub carries all. NATS
    /// JetStream wants one for each topic that a service handles.
    #[arg(
        long, hide = WITHOUT_DAPR, env = "ANNALS_TOPIC_PUBSUB", value_name = "TOPIC=NAME", value_delimiter = ',', value_parser = topic_pubsub
    )]
    pub(super) topic_pubsub: Vec<TopicPubsub>,
    /// Whether that is from the environment, which services of one deployment may share.
    #[arg(skip)]
    pub(super) are_shared: bool,
}

/// A topic, and the component that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicPubsub {
    pub(super) topic: String,
    pub(super) pubsub: String,
}

fn topic_pubsub(text: &str) -> Result<TopicPubsub, String> {
    match text.split_once('=') {
        Some((topic, pubsub)) if !topic.is_empty() && !pubsub.is_empty() => {
            Ok(TopicPubsub { topic: topic.to_owned(), pubsub: pubsub.to_owned() })
        }
        _ => Err("give TOPIC=NAME, the name being that of a pub/sub component".to_owned()),
    }
}

/// What carries a service's events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Events to and from other services")]
pub(super) struct BrokerArgs {
    /// What carries integration events. All flags below are for a sidecar.
    #[arg(long, hide = WITHOUT_DAPR, env = "ANNALS_BROKER", value_enum, default_value_t, value_name = "BROKER")]
    pub(super) broker: BrokerKind,
    #[command(flatten)]
    pub(super) components: ComponentArgs,
    /// The sidecar's gRPC API: host:port, http(s)://host:port or unix:///path [default: 127.0.0.1 and the port that
    /// DAPR_GRPC_PORT says, or 50001].
    #[arg(long, hide = WITHOUT_DAPR, env = "DAPR_GRPC_ENDPOINT", value_name = "URL")]
    pub(super) dapr_endpoint: Option<String>,
    /// The sidecar's HTTP API, which is asked for its health: host:port or http(s)://host:port [default: 127.0.0.1 and the
    /// port that DAPR_HTTP_PORT says; without either only the gRPC API is asked].
    #[arg(long, hide = WITHOUT_DAPR, env = "DAPR_HTTP_ENDPOINT", value_name = "URL")]
    pub(super) dapr_http_endpoint: Option<String>,
    /// The certificates of the authorities that a sidecar behind https:// proves itself by, in PEM [default: those that
    /// this machine trusts].
    #[arg(long, hide = WITHOUT_DAPR, env = "ANNALS_DAPR_CA", value_name = "FILE")]
    pub(super) dapr_ca: Option<PathBuf>,
    /// Who says which topics the sidecar subscribes to.
    #[arg(long, hide = WITHOUT_DAPR, env = "ANNALS_SUBSCRIPTIONS", value_enum, default_value_t, value_name = "KIND")]
    pub(super) subscriptions: SubscriptionsKind,
    /// How the sidecar brings events; it is the sidecar's --app-protocol.
    #[arg(long, hide = WITHOUT_DAPR, env = "ANNALS_APP_CHANNEL", value_enum, default_value_t, value_name = "CHANNEL")]
    pub(super) app_channel: ChannelKind,
    /// With --app-channel grpc: where to listen for the sidecar; the port is its --app-port.
    #[arg(
        long, hide = WITHOUT_DAPR, env = "ANNALS_APP_LISTEN", default_value = "127.0.0.1:50051", value_parser = address, value_name = "ADDR"
    )]
    pub(super) app_listen: SocketAddr,
}

/// The brokers there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum BrokerKind {
    /// Nothing: events stay in the journal.
    #[default]
    None,
    /// A Dapr sidecar.
    Dapr,
}

/// Who says what a sidecar subscribes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum SubscriptionsKind {
    /// The service, when the sidecar asks it.
    #[default]
    Programmatic,
    /// Subscription resources that operators write; the service tells the sidecar nothing.
    Declarative,
}

/// How a sidecar reaches its app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ChannelKind {
    /// Over gRPC, to --app-listen.
    #[default]
    Grpc,
    /// Over HTTP, to --listen.
    Http,
}

/// Which running services, for what a stopped one cannot do.
#[derive(Debug, Clone, Args)]
pub(super) struct RunningTarget {
    /// Only this service.
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
    /// Where the service runs [default: http:// and the address of ANNALS_LISTEN, or 127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Refused with the reason: other commands take it.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(super) data: Option<PathBuf>,
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
        target: RunningTarget,
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
    /// Have an instance of a running service write its state down in its own stream, so that the events before can go.
    Checkpoint {
        /// The aggregate's type, such as order.
        #[arg(value_name = "TYPE")]
        type_name: String,
        /// The instance's id.
        id: String,
        /// Give up the events before; those that somebody has still to read stay.
        #[arg(long)]
        truncate: bool,
        /// With --truncate, keep the last so many.
        #[arg(long, value_name = "COUNT", requires = "truncate", default_value_t = 0)]
        keep: u64,
        #[command(flatten)]
        target: RunningTarget,
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
        target: RunningTarget,
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
    /// Show a dead letter, with the event as it arrived.
    Show {
        /// Its id.
        id: String,
        #[command(flatten)]
        target: Target,
    },
    /// Handle a dead letter again, or all of them.
    // Left to itself, the usage shows the id alone as what is required.
    #[command(override_usage = "dlq replay [OPTIONS] <ID>\n       dlq replay [OPTIONS] --all")]
    Replay(ReplayArgs),
    /// Put away dead letters that are never to be handled, such as those that cannot be read.
    Discard(DiscardArgs),
}

#[derive(Debug, Args)]
pub(super) struct DiscardArgs {
    /// Their ids.
    #[arg(required = true, value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// Why, for who reads the journal later.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) target: RunningTarget,
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
    pub(super) target: RunningTarget,
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
    let wanted = "give HOST:PORT, such as 127.0.0.1:8080";
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error}; {wanted}"))?;
    found.next().ok_or_else(|| format!("the name has no address; {wanted}"))
}

#[cfg(test)]
mod tests;
