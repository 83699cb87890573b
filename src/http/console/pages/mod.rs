//! The pages, a file each or a folder for what belongs together.

mod overview;
mod tasks;
mod events;
mod event;
mod letters;
mod operate;
mod webhooks;
mod people;

use actix_web::web::{self, ServiceConfig};

use super::addresses::{no_more_than_a_page, nothing_here};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .configure(overview::routes)
        .service(no_more_than_a_page(""))
        .configure(tasks::routes)
        .configure(events::routes)
        .configure(event::routes)
        .configure(letters::routes)
        .configure(operate::routes)
        .configure(webhooks::routes)
        .configure(people::routes)
        .default_service(web::to(nothing_here));
}
