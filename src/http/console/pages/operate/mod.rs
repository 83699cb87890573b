//! What operators look at and press besides events and dead letters.

mod effects;
mod processes;
mod audit;
mod doctor;
mod configuration;
mod demo;

use actix_web::web::{self, ServiceConfig};

pub(super) use demo::Demo;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/effects", web::get().to(effects::show))
        .route("/effects/{name}/{order}", web::post().to(effects::order))
        .route("/processes", web::get().to(processes::show))
        .route("/audit", web::get().to(audit::show))
        .route("/doctor", web::get().to(doctor::show))
        .route("/configuration", web::get().to(configuration::show))
        .route("/demo", web::get().to(demo::show))
        .route("/demo/{fault}/{order}", web::post().to(demo::order));
}
