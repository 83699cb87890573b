//! A route: all there is to say of it, said once, in its resource's file. The router, the table of
//! who may do what, the rate limits and the OpenAPI document are made from these lists.

use actix_web::http::Method;
use paperclip::actix::web;
use serde_json::Value;

use crate::http::error::ApiError;

/// A method on a path, and everything that is known of it. HEAD is covered by GET.
pub struct Route {
    /// The method, in capitals.
    pub method: &'static str,
    /// The pattern of the path.
    pub path: &'static str,
    /// What it requires of its caller.
    pub need: Need,
    /// Whether a viewer may call it although it is no GET.
    pub open_to_viewers: bool,
    /// With which requests it is counted.
    pub class: Class,
    /// What becomes of query parameters.
    pub parameters: QueryParameters,
    /// What there is to know of it beside its summary: for the OpenAPI document.
    pub description: &'static str,
    /// What answers.
    pub handler: Handler,
    /// The errors that it has beside those of every route.
    pub errors: fn() -> Vec<ApiError>,
    /// The request header by which it checks for an entity tag, and what that does.
    pub precondition: Option<(&'static str, &'static str)>,
    /// The headers of its answers.
    pub headers: &'static [Header],
    /// Whether its answer is kept for an `Idempotency-Key`, if it is a POST.
    pub keeps_answer: bool,
}

/// What a route requires of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody may call it.
    Nothing,
    /// A token. The handler checks whose resources are asked for.
    Token,
    /// A token of an admin or a viewer: it shows how taskd operates.
    Operation,
    /// The same, unless `METRICS_PUBLIC` is true.
    OperationUnlessMetricsArePublic,
    /// An admin's token.
    Admin,
}

/// Requests that are counted together for a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Those that only read.
    Reads,
    /// Those that may write.
    Writes,
    /// Attempts to sign in.
    SignIn,
    /// Probes, which are never limited.
    Unlimited,
}

/// What becomes of the query parameters of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryParameters {
    /// The route has none, and any is refused.
    Refused,
    /// The handler reads them, and refuses those it doesn't know.
    Read,
    /// They are ignored, since probes, scrapers and browsers may add some.
    Ignored,
}

/// What answers a route.
pub enum Handler {
    /// A handler that describes itself to the OpenAPI document. Neither sort names a method: the
    /// route does.
    Described(fn() -> web::Route),
    /// One that doesn't, with its description: an operation, or nothing for what is not described.
    Plain(fn() -> actix_web::Route, fn() -> Option<Value>),
}

/// A header of an answer.
pub struct Header {
    /// The status of the answer.
    pub status: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub description: &'static str,
    /// An example.
    pub example: &'static str,
}

impl Header {
    /// The entity tag of a task, in an answer with this status.
    pub const fn etag(status: &'static str) -> Header {
        Header {
            status,
            name: "ETag",
            description: "The task's version, in quotes",
            example: "\"1\"",
        }
    }
}

impl Route {
    /// A GET.
    pub const fn get(path: &'static str, need: Need, handler: fn() -> web::Route) -> Route {
        Route::new("GET", path, need, Class::Reads, Handler::Described(handler))
    }

    /// A POST.
    pub const fn post(path: &'static str, need: Need, handler: fn() -> web::Route) -> Route {
        Route::new("POST", path, need, Class::Writes, Handler::Described(handler))
    }

    /// A PUT.
    pub const fn put(path: &'static str, need: Need, handler: fn() -> web::Route) -> Route {
        Route::new("PUT", path, need, Class::Writes, Handler::Described(handler))
    }

    /// A PATCH.
    pub const fn patch(path: &'static str, need: Need, handler: fn() -> web::Route) -> Route {
        Route::new("PATCH", path, need, Class::Writes, Handler::Described(handler))
    }

    /// A DELETE.
    pub const fn delete(path: &'static str, need: Need, handler: fn() -> web::Route) -> Route {
        Route::new("DELETE", path, need, Class::Writes, Handler::Described(handler))
    }

    /// A GET whose handler doesn't describe itself. Its query parameters are ignored.
    pub const fn plain_get(
        path: &'static str,
        need: Need,
        handler: fn() -> actix_web::Route,
        operation: fn() -> Option<Value>,
    ) -> Route {
        let route = Route::new("GET", path, need, Class::Reads, Handler::Plain(handler, operation));
        Route { parameters: QueryParameters::Ignored, ..route }
    }

    /// A POST whose handler doesn't describe itself.
    pub const fn plain_post(
        path: &'static str,
        need: Need,
        handler: fn() -> actix_web::Route,
        operation: fn() -> Option<Value>,
    ) -> Route {
        Route::new("POST", path, need, Class::Writes, Handler::Plain(handler, operation))
    }

    /// A PATCH whose handler doesn't describe itself.
    pub const fn plain_patch(
        path: &'static str,
        need: Need,
        handler: fn() -> actix_web::Route,
        operation: fn() -> Option<Value>,
    ) -> Route {
        Route::new("PATCH", path, need, Class::Writes, Handler::Plain(handler, operation))
    }

    /// A DELETE whose handler doesn't describe itself.
    pub const fn plain_delete(
        path: &'static str,
        need: Need,
        handler: fn() -> actix_web::Route,
        operation: fn() -> Option<Value>,
    ) -> Route {
        Route::new("DELETE", path, need, Class::Writes, Handler::Plain(handler, operation))
    }

    const fn new(
        method: &'static str,
        path: &'static str,
        need: Need,
        class: Class,
        handler: Handler,
    ) -> Route {
        let (errors, precondition, headers): (fn() -> Vec<ApiError>, _, _) = (Vec::new, None, &[]);
        let parameters = QueryParameters::Refused;
        let (open_to_viewers, description) = (false, "");
        let keeps_answer = matches!(handler, Handler::Described(_));
        Route {
            method,
            path,
            need,
            open_to_viewers,
            class,
            parameters,
            description,
            handler,
            errors,
            precondition,
            headers,
            keeps_answer,
        }
    }

    /// The method, for the router.
    #[expect(clippy::expect_used, reason = "only the constructors above set it")]
    pub(in crate::http) fn method(&self) -> Method {
        Method::from_bytes(self.method.as_bytes()).expect("the name of a method")
    }

    /// The same, described like this.
    pub const fn says(self, description: &'static str) -> Route {
        Route { description, ..self }
    }

    /// The same, counted with these requests.
    pub const fn counted_as(self, class: Class) -> Route {
        Route { class, ..self }
    }

    /// Whether a viewer may call it: if it changes nothing, or concerns its own access alone.
    pub fn admits_viewers(&self) -> bool {
        self.method == "GET" || self.open_to_viewers
    }

    /// The same, open to viewers although it is no GET. The handler checks that they change their
    /// own access alone.
    pub const fn open_to_viewers(self) -> Route {
        Route { open_to_viewers: true, ..self }
    }

    /// The same, with its answer kept for an `Idempotency-Key`.
    pub const fn keeps_answer(self) -> Route {
        Route { keeps_answer: true, ..self }
    }

    /// The same, with a handler that reads query parameters.
    pub const fn reads_parameters(self) -> Route {
        Route { parameters: QueryParameters::Read, ..self }
    }

    /// The same, with errors of its own.
    pub const fn fails_with(self, errors: fn() -> Vec<ApiError>) -> Route {
        Route { errors, ..self }
    }

    /// The same, with a check of an entity tag in this header.
    pub const fn checks(self, header: &'static str, effect: &'static str) -> Route {
        Route { precondition: Some((header, effect)), ..self }
    }

    /// The same, with these headers in its answers.
    pub const fn answers_with(self, headers: &'static [Header]) -> Route {
        Route { headers, ..self }
    }
}

/// Every route of an API.
pub struct Routes(Vec<&'static Route>);

impl Routes {
    /// The routes of these resources. Those that are asked for most come first, since paths are
    /// matched in this order.
    pub fn of(resources: &[&'static [Route]]) -> Routes {
        Routes(resources.iter().flat_map(|routes| routes.iter()).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &'static Route> {
        self.0.iter().copied()
    }

    /// The route with this method and this pattern of a path.
    pub fn find(&self, method: &str, path: &str) -> Option<&'static Route> {
        self.iter().find(|route| route.method == method && route.path == path)
    }

    /// The methods that a path has.
    pub fn methods(&self, path: &str) -> Vec<&'static str> {
        self.iter().filter(|route| route.path == path).map(|route| route.method).collect()
    }
}
