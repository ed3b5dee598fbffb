//! Two services in one program: notes that are written and changed over HTTP, and a counter of words that follows them
//! over the bus. A note with the word "poison" cannot be counted: it becomes a dead letter, which a replay mends; with
//! "endless" beside it, the replay never ends. At a note with the word "unlisted" the read model panics; one that is "spin"
//! holds a thread for good.
//!
//! `cargo run -p annals-services --example notes -- dev`

use std::process::ExitCode;
use std::sync::Arc;

use annals_actors::{Aggregate, Context, Event, Inspector, Node, Shape, inspector};
use annals_bus::{Delivery, HandlerError, IntegrationEvent, Outgoing, Publications, Reaction};
use annals_persistence::{EventError, Filter, RecordedEvent, Version};
use annals_services::{
    AsOf, ETag, Fields, Fold, FromFields, Gateway, HistoryQuery, JsonBody, Page, PathText, Problem,
    ReadModel, RequestContext, Running, SendAs, Service, ServiceError, Setup, TopicDescription, etag,
    history_response, json_array, json_response, text, uuid,
};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

/// A note.
#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
struct Note {
    text: String,
}

#[derive(Debug, Serialize, Deserialize)]
enum NoteCommand {
    Write { text: String },
    Change { text: String },
}

#[derive(Debug, Event)]
enum NoteEvent {
    #[event("note-written")]
    Written { text: String },
}

#[derive(Debug, thiserror::Error)]
enum NoteRejection {
    #[error("a note with this id exists")]
    Exists,
    #[error("there is no such note")]
    Missing,
}

impl Aggregate for Note {
    const TYPE: &'static str = "note";
    type Command = NoteCommand;
    type Event = NoteEvent;
    type Rejection = NoteRejection;

    fn handle(&self, command: NoteCommand, context: &Context) -> Result<Vec<NoteEvent>, NoteRejection> {
        let is_new = context.version() == Version::NONE;
        match command {
            NoteCommand::Write { .. } if !is_new => Err(NoteRejection::Exists),
            NoteCommand::Change { .. } if is_new => Err(NoteRejection::Missing),
            NoteCommand::Write { text } | NoteCommand::Change { text } => {
                assert!(text != "panic", "asked to panic");
                if text == "spin" {
                    loop {
                        std::thread::park();
                    }
                }
                Ok(vec![NoteEvent::Written { text }])
            }
        }
    }

    fn apply(&mut self, event: NoteEvent) {
        let NoteEvent::Written { text } = event;
        self.text = text;
    }
}

/// What others may know of a note.
#[derive(Debug, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "NoteWritten")]
struct NoteWritten {
    note_id: String,
    text: String,
}

/// Ids in the order of creation.
#[derive(Debug, Default)]
struct Index(Vec<String>);

impl Fold for Index {
    fn filter(&self) -> Filter {
        Filter::default().category("note")
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), EventError> {
        let text = String::from_utf8_lossy(&event.payload);
        assert!(!text.contains("unlisted"), "asked to panic");
        if event.version == Version(1) {
            self.0.push(event.stream.instance().to_owned());
        }
        Ok(())
    }
}

#[derive(ToSchema)]
struct NewNote {
    id: Option<Uuid>,
    text: String,
    #[schema(rename = "eTag", value_type = Option<String>)]
    etag: Option<ETag>,
}

impl FromFields for NewNote {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let id = fields.optional("id", uuid());
        let text = fields.required("text", text());
        let etag = fields.optional("eTag", etag());
        Some(Self { id: id?, text: text?, etag: etag? })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NoteBody {
    id: String,
    text: String,
    e_tag: String,
}

impl NoteBody {
    fn of(id: &str, note: Note, version: Version) -> Self {
        Self { id: id.to_owned(), text: note.text, e_tag: ETag::text(version) }
    }
}

#[derive(Debug, Clone)]
struct App {
    node: Node,
    gateway: Gateway,
    index: ReadModel<Index>,
}

#[utoipa::path(post, path = "/api/note", request_body = NewNote, responses((status = 201, body = NoteBody)))]
async fn create(
    State(app): State<App>,
    context: RequestContext,
    body: JsonBody<NewNote>,
) -> Result<Response, Problem> {
    let id = app.gateway.new_id(&context, body.value.id)?.to_string();
    let command = NoteCommand::Write { text: body.value.text };
    let how = SendAs::status(StatusCode::CREATED);
    let note = app.node.aggregate::<Note>(&id);
    let done = app
        .gateway
        .send(&context, &body.hash, &note, command, how)
        .await
        .map_err(|failure| failure.reject_with(|r| Problem::conflict("already_exists", r.to_string())))?;
    let state = done.state(&app.node.aggregate::<Note>(&done.id)).await?.state;
    Ok(done.located(&format!("/api/note/{}", done.id), &NoteBody::of(&done.id, state, done.version)))
}

async fn change(
    State(app): State<App>,
    id: PathText,
    context: RequestContext,
    body: JsonBody<NewNote>,
) -> Result<Response, Problem> {
    let id = id.uuid()?.to_string();
    let note = app.node.aggregate::<Note>(&id);
    let done = match app.gateway.replay(&context, &body.hash).await? {
        Some(done) => done,
        None => {
            if note.state().await?.version == Version::NONE {
                return Err(Problem::not_found("there is no such note"));
            }
            let how = SendAs::status(StatusCode::OK).expecting(context.expected(body.value.etag)?);
            let command = NoteCommand::Change { text: body.value.text };
            let sent = app.gateway.send(&context, &body.hash, &note, command, how).await;
            sent.map_err(|failure| failure.reject_with(|r| Problem::not_found(r.to_string())))?
        }
    };
    let state = done.state(&note).await?.state;
    Ok(done.respond(&NoteBody::of(&id, state, done.version)))
}

async fn read(State(app): State<App>, id: PathText, AsOf(moment): AsOf) -> Result<Response, Problem> {
    let id = id.uuid()?.to_string();
    let note = app.node.aggregate::<Note>(&id);
    let found = match moment {
        Some(moment) => note.state_at(moment).await?,
        None => Some(note.state().await?).filter(|now| now.version > Version::NONE),
    };
    let found = found.ok_or_else(|| Problem::not_found("there is no such note"))?;
    let body = NoteBody::of(&id, found.state, found.version);
    Ok(json_response(StatusCode::OK, Some(found.version), &body))
}

async fn list(State(app): State<App>, page: Page) -> Result<Response, Problem> {
    let ids = app.index.read(|index| index.0.clone()).await?;
    Ok(json_array(ids.into_iter().take(page.limit.unwrap_or(usize::MAX))))
}

async fn history(State(app): State<App>, id: PathText, query: HistoryQuery) -> Result<Response, Problem> {
    let id = id.uuid()?.to_string();
    history_response(app.node.journal(), &inspector::<Note>(), &id, query).await
}

#[derive(Debug, OpenApi)]
#[openapi(info(title = "Notes"), paths(create), components(schemas(NoteBody)))]
struct Api;

/// Notes over HTTP.
#[derive(Debug)]
struct Notes;

impl Service for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn about(&self) -> &'static str {
        "notes that are written and changed"
    }

    fn base_path(&self) -> &'static str {
        "/api/note"
    }

    fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        vec![inspector::<Note>()]
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        Api::openapi()
    }

    fn publications(&self) -> Vec<TopicDescription> {
        vec![TopicDescription { topic: "v1.NoteWritten".into(), event: "NoteWritten".into() }]
    }

    fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>> {
        Box::pin(async move {
            let node = setup.node().aggregate::<Note>().start().await?;
            let publications = Publications::new("notes").translate::<Note>(|event, recorded| {
                let NoteEvent::Written { text } = event;
                let note_id = recorded.stream.instance().to_owned();
                vec![Outgoing::event(&NoteWritten { note_id, text: text.clone() })]
            });
            let bus = setup.bus(&node).publications(publications).start().await?;
            let index = setup.read_model("notes", Index::default());
            let app = App { node: node.clone(), gateway: setup.gateway(), index };
            let router = Router::new()
                .route("/api/note", get(list).post(create))
                .route("/api/note/{id}", get(read).put(change))
                .route("/api/note/{id}/history", get(history))
                .with_state(app);
            Ok(Running::new(node).bus(bus).router(router))
        })
    }
}

/// How many words a note has.
#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
struct Count {
    words: u64,
}

#[derive(Debug, Event)]
enum CountEvent {
    #[event("words-counted")]
    Counted { words: u64 },
}

impl Aggregate for Count {
    const TYPE: &'static str = "count";
    type Command = u64;
    type Event = CountEvent;
    type Rejection = std::convert::Infallible;

    fn handle(&self, words: u64, _: &Context) -> Result<Vec<CountEvent>, Self::Rejection> {
        Ok(vec![CountEvent::Counted { words }])
    }

    fn apply(&mut self, event: CountEvent) {
        let CountEvent::Counted { words } = event;
        self.words = words;
    }
}

/// Counts words.
#[derive(Debug)]
struct Counts;

impl Service for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        vec![inspector::<Count>()]
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    fn subscriptions(&self) -> Vec<TopicDescription> {
        vec![TopicDescription { topic: "v1.NoteWritten".into(), event: "NoteWritten".into() }]
    }

    fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>> {
        Box::pin(async move {
            let node = setup.node().aggregate::<Count>().start().await?;
            let count = async |event: NoteWritten, delivery: Delivery| {
                if event.text.contains("poison") && !delivery.is_replay() {
                    return Err(HandlerError::Poison { reason: "it is poison".to_owned() });
                }
                if event.text.contains("endless") {
                    tracing::warn!("words are counted that never end");
                    std::future::pending::<()>().await;
                }
                let words = event.text.split_whitespace().count() as u64;
                Ok(Reaction::none().command::<Count>(&event.note_id, words))
            };
            let bus = setup.bus(&node).subscribe::<NoteWritten>("count-words", count).start().await?;
            Ok(Running::new(node).bus(bus))
        })
    }
}

fn main() -> ExitCode {
    annals_services::cli::main(vec![Arc::new(Notes), Arc::new(Counts)])
}
