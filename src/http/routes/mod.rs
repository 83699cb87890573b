//! The routes of the API, a file for each resource, and what is made from their lists.

pub(in crate::http) mod activity;
pub(in crate::http) mod categories;
pub(in crate::http) mod changes;
pub(in crate::http) mod docs;
pub(in crate::http) mod events;
pub mod health;
pub mod operator;
mod ownership;
pub(in crate::http) mod sessions;
mod task_update;
pub(in crate::http) mod tasks;
pub(in crate::http) mod tokens;
pub(in crate::http) mod users;
pub(in crate::http) mod webhooks;

use std::sync::LazyLock;

use actix_web::Resource;
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use paperclip::actix::web;

use crate::http::middleware::limits::within_limits;
use crate::http::route::{Handler, Route, Routes};

/// Every route of the API.
pub fn all() -> &'static Routes {
    static ALL: LazyLock<Routes> = LazyLock::new(|| {
        Routes::of(&[
            tasks::ROUTES,
            activity::ROUTES,
            sessions::ROUTES,
            tokens::ROUTES,
            users::ROUTES,
            categories::ROUTES,
            events::ROUTES,
            changes::ROUTES,
            webhooks::ROUTES,
            health::ROUTES,
            docs::ROUTES,
            operator::letters::ROUTES,
            operator::audit::ROUTES,
            operator::effects::ROUTES,
            operator::processes::ROUTES,
            operator::overview::ROUTES,
            operator::examination::ROUTES,
            operator::demo::ROUTES,
        ])
    });
    &ALL
}

/// Registers the routes that describe themselves. Methods that a path doesn't have are refused by
/// the table of routes.
pub(in crate::http) fn described(config: &mut web::ServiceConfig<'_>) {
    for (path, routes) in by_path(all().iter()) {
        let mut resource = web::resource(path).wrap(from_fn(within_limits));
        let mut any = false;
        for route in routes {
            if let Handler::Described(handler) = &route.handler {
                (resource, any) = (resource.route(handler().method(route.method())), true);
            }
        }
        if any {
            config.service(resource);
        }
    }
}

/// Registers those of these routes that don't describe themselves.
pub(in crate::http) fn plain(
    routes: impl Iterator<Item = &'static Route>,
) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let routes = routes.filter(|route| matches!(route.handler, Handler::Plain(..)));
        for (path, routes) in by_path(routes) {
            let mut handlers = routes.iter().filter_map(|route| match &route.handler {
                Handler::Plain(handler, _) => Some(handler().method(route.method())),
                Handler::Described(_) => None,
            });
            match (routes.as_slice(), handlers.next()) {
                ([only], Some(handler)) if only.method == "GET" => {
                    config.service(crate::http::only_get(path, handler));
                }
                (_, first) => {
                    let resource = actix_web::web::resource(path);
                    let handlers = first.into_iter().chain(handlers);
                    config.service(
                        handlers.fold(resource, Resource::route).wrap(from_fn(within_limits)),
                    );
                }
            }
        }
    }
}

/// The paths in the order in which they come first, each with its routes.
fn by_path(
    routes: impl Iterator<Item = &'static Route>,
) -> Vec<(&'static str, Vec<&'static Route>)> {
    let mut paths: Vec<(&str, Vec<&Route>)> = Vec::new();
    for route in routes {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, routes)) => routes.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse};

    use super::*;
    use crate::http::middleware::admission::{enforce, identify};

    #[actix_web::test]
    async fn a_path_that_is_not_in_the_table_lets_nobody_in() {
        let open = || actix_web::web::get().to(HttpResponse::Ok);
        let app = App::new()
            .wrap(from_fn(enforce))
            .wrap(from_fn(identify))
            .app_data(all())
            .route("/forgotten", open())
            .route("/healthz", open());
        let app = init_service(app).await;
        for (path, status) in [("/forgotten", 403), ("/nothing", 404)] {
            let request = TestRequest::get().uri(path).to_request();
            assert_eq!(call_service(&app, request).await.status(), status, "{path}");
        }
        let request = TestRequest::post().uri("/healthz").to_request();
        assert_eq!(call_service(&app, request).await.status(), 405);
    }

    #[test]
    fn each_route_is_there_once() {
        let routes: Vec<(&str, &str)> = all().iter().map(|r| (r.method, r.path)).collect();
        assert_eq!(routes.iter().collect::<BTreeSet<_>>().len(), routes.len());
        assert_eq!(routes.len(), 88);
    }
}
