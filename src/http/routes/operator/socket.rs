//! The socket on which `taskd up` takes orders from the user who runs it. Only this user can reach
//! it, so no token is required.

use std::os::unix::net::UnixListener;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Data, Json, Path};
use actix_web::{App, HttpResponse, HttpServer};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::{self, Grant, Granted, Revocation, TokenFilter, grant};
use crate::dead_letters::{DeadLetters, Order};
use crate::gates::EffectOrder;
use crate::http::routes::operator::{events, events::EventListOrder};
use crate::operate::doctor::{self, Patient};
use crate::operate::{AuditEntry, Operator, OrderError, presence};
use crate::store::accounts::tokens::{self, Kind};
use crate::store::letters::audit::{self, AuditFilter};
use crate::store::{Connection, Store};
use crate::webhooks::orders::{WebhookOrder, Webhooks};

/// The path to which tokens to be made are posted.
pub const TOKENS: &str = "/tokens";
/// The path to which orders to list tokens are posted.
pub const TOKEN_LIST: &str = "/tokens/list";
/// The path to which orders to end tokens are posted.
pub const TOKEN_REVOCATION: &str = "/tokens/revoke";
/// Deletes a token that could not be shown, by the ids of its user and itself.
const TOKEN: &str = "/tokens/{user}/{id}";

/// The path to which orders about dead letters are posted.
pub const LETTERS: &str = "/dead-letters";
/// The path to which orders about effects are posted.
pub const EFFECTS: &str = "/effects";
/// The path to which orders about webhooks are posted.
pub const WEBHOOKS: &str = "/webhooks";
/// The path to which orders to list the audit log are posted.
pub const AUDIT: &str = "/audit";
/// The path to which orders to list events are posted.
pub const EVENT_LIST: &str = "/events/list";
/// The path to which the id of an event is posted whose story is wanted.
pub const EVENT_STORY: &str = "/events/story";

/// The path to which the question is posted who is there.
pub const PROCESSES: &str = "/processes";

/// The path to which the order is posted to examine the database.
pub const DOCTOR: &str = "/doctor";

/// A token that was made, as it is answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewTokenDocument {
    /// The token itself, shown only this once.
    pub token: String,
    /// The token's id.
    pub token_id: i64,
    /// The user it belongs to.
    pub user_id: i64,
    /// Whether the user was created with it.
    pub is_new_user: bool,
}

impl From<Granted> for NewTokenDocument {
    fn from(granted: Granted) -> NewTokenDocument {
        NewTokenDocument {
            token: granted.token.expose().to_owned(),
            token_id: granted.token_id,
            user_id: granted.user_id,
            is_new_user: granted.is_new_user,
        }
    }
}

/// Why an order was refused.
#[derive(Serialize, Deserialize)]
pub struct Refusal {
    /// The member that is wrong, if it is one.
    pub field: Option<String>,
    /// What is wrong.
    pub problem: String,
}

/// The running server of the socket.
pub struct OperatorServer(ServerHandle);

impl OperatorServer {
    /// Stops it.
    pub async fn stop(self) {
        self.0.stop(false).await;
    }
}

/// Starts to take orders on this socket.
///
/// # Errors
/// The socket can't be created.
pub fn start(
    socket: &std::path::Path,
    store: Store,
    webhooks: Webhooks,
) -> std::io::Result<OperatorServer> {
    let listener = UnixListener::bind(socket)?;
    let letters = Data::new(DeadLetters::new(store.clone()));
    let (store, webhooks) = (Data::new(store), Data::new(webhooks));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(letters.clone())
            .app_data(store.clone())
            .app_data(webhooks.clone())
            .route(WEBHOOKS, web::post().to(obey_about_webhooks))
            .route(LETTERS, web::post().to(obey))
            .route(EFFECTS, web::post().to(obey_about_effects))
            .route(AUDIT, web::post().to(list_audit))
            .route(TOKENS, web::post().to(create))
            .route(TOKEN_LIST, web::post().to(list))
            .route(TOKEN_REVOCATION, web::post().to(revoke))
            .route(TOKEN, web::delete().to(take_back))
            .route(EVENT_LIST, web::post().to(list_events))
            .route(EVENT_STORY, web::post().to(show_event))
            .route(PROCESSES, web::post().to(list_processes))
            .route(DOCTOR, web::post().to(examine))
    });
    let server =
        server.workers(1).shutdown_timeout(1).disable_signals().listen_uds(listener)?.run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(OperatorServer(handle))
}

async fn create(store: Data<Store>, order: Json<Grant>) -> HttpResponse {
    let made = async {
        let mut connection = store.connection().await?;
        grant(&mut connection, &order, |_| Ok(())).await
    };
    answer(made.await.map(NewTokenDocument::from))
}

async fn list(store: Data<Store>, order: Json<TokenFilter>) -> HttpResponse {
    let listed = async {
        let mut connection = store.connection().await?;
        access::list(&mut connection, &order).await
    };
    answer(listed.await)
}

async fn revoke(store: Data<Store>, order: Json<Revocation>) -> HttpResponse {
    let revoked = async {
        let mut connection = store.connection().await?;
        access::revoke(&mut connection, &order).await
    };
    answer(revoked.await)
}

/// An order, and who gives it.
#[derive(Serialize, Deserialize)]
pub struct OrderBy<T> {
    /// The order.
    pub order: T,
    /// Who gives it.
    pub by: Operator,
}

/// Which entries of the audit log to list, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditOrder {
    /// Only this action.
    pub action: Option<String>,
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only since then.
    pub since: Option<DateTime<Utc>>,
    /// How many at most.
    pub limit: u32,
}

impl AuditOrder {
    /// Lists the entries.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, connection: &mut Connection) -> Result<Vec<AuditEntry>, OrderError> {
        let AuditOrder { action, actor, since, limit } = self.clone();
        let filter = AuditFilter { action, actor, since };
        let rows = audit::list(connection, &filter, None, limit.into()).await?;
        Ok(rows.into_iter().map(AuditEntry::from).collect())
    }
}

async fn obey(letters: Data<DeadLetters>, order: Json<OrderBy<Order>>) -> HttpResponse {
    answer(letters.obey(&order.order, &order.by).await)
}

async fn obey_about_effects(store: Data<Store>, order: Json<OrderBy<EffectOrder>>) -> HttpResponse {
    let obeyed = async { order.order.obey(&mut *store.connection().await?, &order.by).await };
    answer(obeyed.await)
}

async fn obey_about_webhooks(
    store: Data<Store>,
    webhooks: Data<Webhooks>,
    order: Json<OrderBy<WebhookOrder>>,
) -> HttpResponse {
    let OrderBy { order, by } = order.into_inner();
    answer(webhooks.obey(&store, order, &by).await)
}

async fn list_audit(store: Data<Store>, order: Json<AuditOrder>) -> HttpResponse {
    let listed = async { order.list(&mut *store.connection().await?).await };
    answer(listed.await)
}

async fn list_events(store: Data<Store>, order: Json<EventListOrder>) -> HttpResponse {
    let listed = async { events::list(&mut *store.connection().await?, &order).await };
    answer(listed.await)
}

async fn show_event(store: Data<Store>, id: Json<Uuid>) -> HttpResponse {
    let shown = async { events::show(&mut *store.connection().await?, *id).await };
    answer(shown.await)
}

async fn list_processes(store: Data<Store>) -> HttpResponse {
    let listed = async { Ok(presence::list(&mut *store.connection().await?).await?) };
    answer(listed.await)
}

/// How long a canary may take, in milliseconds, if one is to be sent.
async fn examine(store: Data<Store>, canary: Json<Option<u64>>) -> HttpResponse {
    let patient = Patient { store: store.get_ref().clone(), embedded: true };
    let canary = canary.map(std::time::Duration::from_millis);
    HttpResponse::Ok().json(doctor::examine_database(&patient, canary).await)
}

fn answer(outcome: Result<impl Serialize, OrderError>) -> HttpResponse {
    match outcome {
        Ok(document) => HttpResponse::Ok().json(document),
        Err(OrderError::Invalid { field, problem }) => {
            let refusal = Refusal { field: Some(field.to_owned()), problem };
            HttpResponse::BadRequest().json(refusal)
        }
        Err(error @ OrderError::Missing(_)) => {
            HttpResponse::NotFound().json(Refusal { field: None, problem: error.to_string() })
        }
        Err(OrderError::Refused(problem)) => {
            HttpResponse::Conflict().json(Refusal { field: None, problem })
        }
        Err(error) => failed(&error),
    }
}

async fn take_back(store: Data<Store>, path: Path<(i64, i64)>) -> HttpResponse {
    let (user_id, id) = path.into_inner();
    let taken = async {
        let mut connection = store.connection().await?;
        tokens::delete(&mut connection, user_id, id, Kind::Api).await
    };
    match taken.await {
        Ok(_) => HttpResponse::NoContent().finish(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> HttpResponse {
    HttpResponse::ServiceUnavailable().json(Refusal { field: None, problem: error.to_string() })
}
