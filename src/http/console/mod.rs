//! The console: pages for people, at `/console`.
//!
//! It is a client of the API that lives in the same process. Whatever a page shows or does is a
//! request to a route of the API ([`client`]), with the token of whoever looks at it; so the same
//! rules, rate limits and audit rows apply, and the console has no SQL and no power of its own. A
//! test keeps it from importing anything that would give it some.
//!
//! Pages are written by the server (maud). A stream tells an open page that something changed
//! ([`live`]), and the page fetches itself again and morphs. Without JavaScript everything works
//! but that.

mod pages;
mod parts;
mod live;
mod layout;
mod sign_in;
mod viewer;
mod form;
mod problem;
mod addresses;
mod cookies;
mod client;
mod assets;
mod front;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::middleware::from_fn;
use actix_web::web::{self, QueryConfig, ServiceConfig};

use problem::Problem;

pub(in crate::http) use client::Api;
pub(in crate::http) use front::front;
pub(in crate::http) use live::Turns;

/// Where the console is.
pub(in crate::http) const ROOT: &str = "/console";

/// Whether the process is a demo, in the console's app.
#[derive(Clone, Copy)]
pub(in crate::http) struct InDemo(pub(in crate::http) bool);

/// Registers every page. What a page asks of the API ends within the time that a request may take.
pub(in crate::http) fn routes(config: &mut ServiceConfig) {
    let root = || async { HttpResponse::Found().insert_header((LOCATION, ROOT)).finish() };
    config.service(addresses::page("/", root)).service(
        web::scope(ROOT)
            .wrap(from_fn(problem::framed))
            .app_data(QueryConfig::default().error_handler(|_, _| Problem::unreadable().into()))
            .configure(assets::routes)
            .configure(sign_in::routes)
            .configure(live::routes)
            .configure(pages::routes),
    );
}
