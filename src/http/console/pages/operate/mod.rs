//! What operators look at and press besides events and dead letters.

mod effects;
mod processes;
mod audit;
mod doctor;
mod configuration;
mod demo;

use actix_web::web::ServiceConfig;

use crate::http::console::addresses::{form, page};

pub(super) use demo::Demo;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(page("/effects", effects::show))
        .service(form("/effects/{name}/{order}", effects::order))
        .service(page("/processes", processes::show))
        .service(page("/audit", audit::show))
        .service(page("/doctor", doctor::show))
        .service(page("/configuration", configuration::show))
        .service(page("/demo", demo::show))
        .service(form("/demo/{fault}/{order}", demo::order));
}
