//! `/demo` of a `taskd up --demo`: what is broken on purpose, what shows that nothing is lost, and,
//! for admins, orders to break and to mend. Any other process answers that there is no such path,
//! so the OpenAPI document has none of it.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};

use super::OperatorOf;
use crate::access::Caller;
use crate::demo::{Demo, DemoError, DemoOrder, MailFault};
use crate::http::error::ApiError;
use crate::http::extract::body::{Body, OptionalBody};
use crate::http::extract::fields::{Fields, FromFields};
use crate::http::route::{Need, QueryParameters, Route};
use crate::http::{AppState, to_the_end};

/// The routes of a demo.
pub(in crate::http) static ROUTES: &[Route] = &[
    Route {
        parameters: QueryParameters::Refused,
        ..Route::plain_get("/demo", Need::Operation, || web::route().to(show), || None)
    },
    order("/demo/worker/stop", || web::route().to(stop_workers)),
    order("/demo/worker/start", || web::route().to(start_workers)),
    order("/demo/worker/freeze", || web::route().to(freeze_worker)),
    order("/demo/broker/hold", || web::route().to(hold_broker)),
    order("/demo/broker/release", || web::route().to(release_broker)),
    order("/demo/mail", || web::route().to(fail_mail)),
    order("/demo/duplicates", || web::route().to(duplicates)),
    order("/demo/garbage", || web::route().to(garbage)),
    order("/demo/trickle/pause", || web::route().to(pause_trickle)),
    order("/demo/trickle/resume", || web::route().to(resume_trickle)),
    order("/demo/mend", || web::route().to(mend)),
];

const fn order(path: &'static str, handler: fn() -> actix_web::Route) -> Route {
    Route::plain_post(path, Need::Admin, handler, || None)
}

async fn show(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(demo(&state)?.view().await?))
}

fn demo(state: &AppState) -> Result<&Demo, ApiError> {
    state.common.demo.as_ref().ok_or(ApiError::RouteNotFound)
}

/// What every order takes from its request.
type Given = (Data<AppState>, Caller, OperatorOf);

/// Carries out an order to its end, and answers how things are then.
async fn obey((state, caller, by): Given, order: DemoOrder) -> Result<HttpResponse, ApiError> {
    let demo = demo(&state)?.clone();
    let view = to_the_end(&state, caller.user_id(), async move {
        demo.obey(order, &by.0).await.map_err(|error| match error {
            DemoError::Store(error) => error.into(),
            DemoError::Broker(_) => ApiError::Unavailable,
        })?;
        Ok(demo.view().await?)
    });
    Ok(HttpResponse::Ok().json(view.await?))
}

/// Defines the handlers of orders that say all by their path.
macro_rules! orders {
    ($($name:ident => $order:ident),* $(,)?) => {$(
        async fn $name(given: Given, _: OptionalBody<Nothing>) -> Result<HttpResponse, ApiError> {
            obey(given, DemoOrder::$order).await
        }
    )*};
}

orders! {
    stop_workers => StopWorkers,
    start_workers => StartWorkers,
    freeze_worker => FreezeWorker,
    hold_broker => HoldBroker,
    release_broker => ReleaseBroker,
    pause_trickle => PauseTrickle,
    resume_trickle => ResumeTrickle,
    mend => Mend,
}

async fn fail_mail(given: Given, body: Body<MailFault>) -> Result<HttpResponse, ApiError> {
    obey(given, DemoOrder::FailMail(body.0)).await
}

async fn duplicates(given: Given, body: Body<Count>) -> Result<HttpResponse, ApiError> {
    obey(given, DemoOrder::Duplicates(body.0.0)).await
}

async fn garbage(given: Given, body: Body<Count>) -> Result<HttpResponse, ApiError> {
    obey(given, DemoOrder::Garbage(body.0.0)).await
}

/// A body without members.
struct Nothing;

impl FromFields for Nothing {
    fn from_fields(_: &mut Fields) -> Nothing {
        Nothing
    }
}

impl FromFields for MailFault {
    fn from_fields(fields: &mut Fields) -> MailFault {
        MailFault {
            failing: within(fields, "failing", 0, 100),
            for_good: fields.unless_absent("forGood").unwrap_or(false),
        }
    }
}

/// How many messages to publish.
struct Count(u32);

impl FromFields for Count {
    fn from_fields(fields: &mut Fields) -> Count {
        Count(within(fields, "count", 1, 100))
    }
}

/// Reads a required number within these bounds.
fn within<T: TryFrom<i64> + Default>(
    fields: &mut Fields,
    name: &'static str,
    least: i64,
    most: i64,
) -> T {
    let wanted = format!("a whole number from {least} to {most}");
    let is_given = fields.has(name);
    let fits = |number: &i64| (least..=most).contains(number);
    match fields.unless_absent::<i64>(name) {
        Some(number) if fits(&number) => return T::try_from(number).unwrap_or_default(),
        Some(_) => fields.fault(name, format!("must be {wanted}")),
        None if !is_given => fields.fault(name, format!("is required: {wanted}")),
        // What is wrong with it has been said.
        None => {}
    }
    T::default()
}
