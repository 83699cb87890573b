//! Webhooks: a list, making and changing them, and what was delivered to each.

mod list;
mod edit;
mod draft;
mod one;
mod orders;
mod deliveries;
mod delivery;

use actix_web::web::ServiceConfig;
use maud::{Markup, html};
use url::Url;

use crate::domain::webhook::DisabledReason;
use crate::http::console::ROOT;
use crate::http::console::addresses::{form, page, page_and_form};
use crate::http::console::parts::toned;
use crate::webhooks::orders::WebhookView;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(page_and_form("/webhooks", list::show, edit::create))
        .service(page("/webhooks/new", edit::ask))
        .service(page_and_form("/webhooks/{id}", one::show, edit::update))
        .service(page("/webhooks/{id}/edit", edit::ask_change))
        .service(form("/webhooks/{id}/ping", orders::ping))
        .service(form("/webhooks/{id}/enabled", orders::enable))
        .service(form("/webhooks/{id}/secret", orders::rotate_secret))
        .service(form("/webhooks/{id}/recover", orders::recover))
        .service(form("/webhooks/{id}/replay", orders::replay_history))
        .service(form("/webhooks/{id}/delete", orders::delete))
        .service(page("/webhooks/{id}/deliveries/{delivery}", delivery::show))
        .service(form("/webhooks/{id}/deliveries/{delivery}/resend", delivery::resend));
}

/// The address of a webhook's page.
fn address(webhook: i64) -> String {
    format!("{ROOT}/webhooks/{webhook}")
}

/// The host of a webhook's URL, with its port if it names one.
fn host(webhook: &WebhookView) -> String {
    let url = Url::parse(&webhook.url).ok();
    let host = url.as_ref().and_then(|url| {
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    });
    host.unwrap_or_else(|| webhook.url.clone())
}

/// Whether a webhook is told of events, and if so, whether they arrive.
fn state(webhook: &WebhookView) -> Markup {
    let by_request = Some(DisabledReason::ByRequest.as_str());
    match (webhook.enabled, webhook.failing_since.is_some()) {
        (true, false) => toned("enabled", "good"),
        (true, true) => toned("failing", "warn"),
        (false, _) if webhook.disabled_reason.as_deref() == by_request => toned("disabled", "warn"),
        (false, _) => toned("disabled", "bad"),
    }
}

/// The types of events that a webhook asks for.
fn types(webhook: &WebhookView) -> Markup {
    match &webhook.event_types {
        Some(types) => html! { (types.join(", ")) },
        None => html! { span.faint { "all" } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_port_and_nothing_that_may_be_secret() {
        for (url, host_of_it) in [
            ("https://example.com/hooks/T0/secret?key=1", "example.com"),
            ("http://127.0.0.1:8080/a", "127.0.0.1:8080"),
            ("https://user:word@example.com", "example.com"),
        ] {
            let webhook = serde_json::json!({
                "id": 1, "url": url, "filter": {}, "ordered": false, "rate": null, "retryDelays": [],
                "enabled": true, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
            });
            let webhook: WebhookView = serde_json::from_value(webhook).unwrap();
            assert_eq!(host(&webhook), host_of_it);
        }
    }
}
