//! Users, categories, and the reader's own account.

mod users;
mod categories;
mod account;

use actix_web::web::ServiceConfig;

use crate::http::console::addresses::{form, page, page_and_form};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(page_and_form("/users", users::show, users::create))
        .service(page_and_form("/users/{id}", users::one, users::update))
        .service(form("/users/{id}/delete", users::delete))
        .service(form("/users/{id}/{what}/end", users::end))
        .service(page_and_form("/categories", categories::show, categories::create))
        .service(form("/categories/{id}", categories::rename))
        .service(form("/categories/{id}/delete", categories::delete))
        .service(page("/account", account::show))
        .service(form("/account/password", account::change_password))
        .service(form("/account/tokens", account::make_token))
        .service(form("/account/{what}/end", account::end));
}
