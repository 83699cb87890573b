//! Users, categories, and the reader's own account.

mod users;
mod categories;
mod account;

use actix_web::web::{self, ServiceConfig};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/users")
                .route(web::get().to(users::show))
                .route(web::post().to(users::create)),
        )
        .service(
            web::resource("/users/{id}")
                .route(web::get().to(users::one))
                .route(web::post().to(users::update)),
        )
        .route("/users/{id}/delete", web::post().to(users::delete))
        .route("/users/{id}/{what}/end", web::post().to(users::end))
        .service(
            web::resource("/categories")
                .route(web::get().to(categories::show))
                .route(web::post().to(categories::create)),
        )
        .route("/categories/{id}", web::post().to(categories::rename))
        .route("/categories/{id}/delete", web::post().to(categories::delete))
        .route("/account", web::get().to(account::show))
        .route("/account/password", web::post().to(account::change_password))
        .route("/account/tokens", web::post().to(account::make_token))
        .route("/account/{what}/end", web::post().to(account::end));
}
