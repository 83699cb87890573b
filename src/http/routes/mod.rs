//! The routes of the API. Those that paperclip describes are registered here.

pub(in crate::http) mod activity;
pub(in crate::http) mod categories;
pub(in crate::http) mod docs;
pub(in crate::http) mod events;
pub mod health;
pub mod operator;
mod ownership;
pub(in crate::http) mod sessions;
pub(in crate::http) mod tasks;
pub(in crate::http) mod tokens;
pub(in crate::http) mod users;

use actix_web::middleware::from_fn;
use paperclip::actix::web;

use crate::http::middleware::limits::within_limits;

/// Registers the API's routes. Each has its rule in
/// [`RULES`](crate::http::middleware::admission::RULES), by which methods that a path doesn't have
/// are refused too. Routes are matched in this order, so the most frequent come first.
pub(in crate::http) fn api(config: &mut web::ServiceConfig<'_>) {
    config
        .service(
            web::resource("/tasks")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tasks::list))
                .route(web::post().to(tasks::create)),
        )
        .service(
            web::resource("/tasks/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tasks::get))
                .route(web::put().to(tasks::replace))
                .route(web::patch().to(tasks::patch))
                .route(web::delete().to(tasks::delete)),
        )
        .service(
            web::resource("/tasks/{id}/activity")
                .wrap(from_fn(within_limits))
                .route(web::get().to(activity::list)),
        )
        .service(
            web::resource("/sessions")
                .wrap(from_fn(within_limits))
                .route(web::get().to(sessions::list))
                .route(web::post().to(sessions::create))
                .route(web::delete().to(sessions::delete_all)),
        )
        .service(
            web::resource("/sessions/current")
                .wrap(from_fn(within_limits))
                .route(web::delete().to(sessions::delete_current)),
        )
        .service(
            web::resource("/sessions/{id}")
                .wrap(from_fn(within_limits))
                .route(web::delete().to(sessions::delete)),
        )
        .service(
            web::resource("/tokens")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tokens::list))
                .route(web::post().to(tokens::create)),
        )
        .service(
            web::resource("/tokens/{id}")
                .wrap(from_fn(within_limits))
                .route(web::delete().to(tokens::delete)),
        )
        .service(
            web::resource("/users")
                .wrap(from_fn(within_limits))
                .route(web::get().to(users::list))
                .route(web::post().to(users::create)),
        )
        .service(
            web::resource("/users/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(users::get))
                .route(web::patch().to(users::patch))
                .route(web::delete().to(users::delete)),
        )
        .service(
            web::resource("/users/{id}/tokens")
                .wrap(from_fn(within_limits))
                .route(web::get().to(tokens::list_of_user))
                .route(web::delete().to(tokens::delete_of_user)),
        )
        .service(
            web::resource("/users/{id}/tokens/{tokenId}")
                .wrap(from_fn(within_limits))
                .route(web::delete().to(tokens::delete_one_of_user)),
        )
        .service(
            web::resource("/users/{id}/sessions")
                .wrap(from_fn(within_limits))
                .route(web::get().to(sessions::list_of_user))
                .route(web::delete().to(sessions::delete_of_user)),
        )
        .service(
            web::resource("/users/{id}/sessions/{sessionId}")
                .wrap(from_fn(within_limits))
                .route(web::delete().to(sessions::delete_one_of_user)),
        )
        .service(
            web::resource("/categories")
                .wrap(from_fn(within_limits))
                .route(web::get().to(categories::list))
                .route(web::post().to(categories::create)),
        )
        .service(
            web::resource("/categories/{id}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(categories::get))
                .route(web::patch().to(categories::patch))
                .route(web::delete().to(categories::delete)),
        )
        .service(
            web::resource("/events")
                .wrap(from_fn(within_limits))
                .route(web::get().to(events::list)),
        )
        .service(
            web::resource("/events/{eventId}")
                .wrap(from_fn(within_limits))
                .route(web::get().to(events::get)),
        );
}
