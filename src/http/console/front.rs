//! The service in front of the API: requests for `/console` go to the console's app, all others to
//! the API's. The console's app holds the API's service of its thread, to call it.

use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::Request;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, fn_factory_with_config};
use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::http::header::HeaderMap;
use futures_util::future::{Either, LocalBoxFuture};

use super::ROOT;
use super::client::Api;
use crate::http::routes::docs::is_browser;

/// What an app makes of a request, boxed.
type Answering = LocalBoxFuture<'static, Result<ServiceResponse<BoxBody>, Error>>;

/// The console's service: boxed, since pages are not what must be fast.
struct Pages(Box<dyn Fn(Request) -> Answering>);

/// Both apps. Without the console, everything goes to the API.
pub(in crate::http) struct Front<S> {
    api: Rc<S>,
    pages: Option<Pages>,
}

/// Makes the service in front of this API, with the console that `console` makes of it.
pub(in crate::http) fn front<A, S, C, CA, CS>(
    api: A,
    console: Option<C>,
) -> impl ServiceFactory<
    Request,
    Config = AppConfig,
    Response = ServiceResponse<BoxBody>,
    Error = Error,
    InitError = (),
    Service = Front<S::Service>,
>
where
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
        > + 'static,
    C: Fn(Api) -> CA + Clone + 'static,
    CA: IntoServiceFactory<CS, Request>,
    CS: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
        > + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
{
    let api = api.into_factory();
    fn_factory_with_config(move |config: AppConfig| {
        let (api, console) = (api.new_service(config.clone()), console.clone());
        async move {
            let api = Rc::new(api.await?);
            let pages = match console {
                Some(console) => {
                    let pages = console(Api::new(Rc::clone(&api))).into_factory();
                    let pages = pages.new_service(config).await?;
                    Some(Pages(Box::new(move |request| Box::pin(pages.call(request)))))
                }
                None => None,
            };
            Ok::<_, ()>(Front { api, pages })
        }
    })
}

impl<S> Service<Request> for Front<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Either<S::Future, Answering>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.api.poll_ready(context)
    }

    fn call(&self, request: Request) -> Self::Future {
        match &self.pages {
            Some(pages) if is_for_console(request.path(), request.head().headers()) => {
                Either::Right((pages.0)(request))
            }
            _ => Either::Left(self.api.call(request)),
        }
    }
}

/// Whether this is a page of the console, or a browser that asks for the root.
fn is_for_console(path: &str, headers: &HeaderMap) -> bool {
    match path.strip_prefix(ROOT) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => path == "/" && is_browser(headers),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ACCEPT, HeaderValue};

    use super::*;

    #[test]
    fn only_the_console_and_a_browser_at_the_root_are_for_the_console() {
        let mut browser = HeaderMap::new();
        browser.insert(ACCEPT, HeaderValue::from_static("application/xml, text/HTML;q=0.9"));
        let (program, browser) = (&HeaderMap::new(), &browser);
        for (path, headers, expected) in [
            ("/console", program, true),
            ("/console/tasks", program, true),
            ("/consoles", browser, false),
            ("/tasks", browser, false),
            ("/", program, false),
            ("/", browser, true),
        ] {
            assert_eq!(is_for_console(path, headers), expected, "{path}");
        }
    }
}
