//! Deliveries: looked at, and ordered once more.

use std::process::ExitCode;

use serde_json::json;

use super::args::{DeliveriesArgs, DeliveryArgs, OneArgs, RecoverArgs, ReplayHistoryArgs};
use super::print;
use crate::ground::output;
use crate::webhooks::orders::WebhookOrder;

/// Sends something to a webhook. Exits 1 if the answer is not 2xx, or if there is none.
pub(super) async fn ping(args: OneArgs) -> anyhow::Result<ExitCode> {
    let ping = args.source.ping(args.id).await?;
    match args.json {
        true => print::json(&ping)?,
        false => print::ping(&ping)?,
    }
    Ok(if ping.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn list(args: DeliveriesArgs) -> anyhow::Result<ExitCode> {
    let DeliveriesArgs { one, state, limit } = args;
    let state = state.map(|state| state.as_str().to_owned());
    let order = WebhookOrder::Deliveries { id: one.id, state, limit: limit.into() };
    let deliveries = one.source.deliveries(order).await?;
    match one.json {
        true => print::json(&deliveries)?,
        false => print::deliveries(&deliveries)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(args: DeliveryArgs) -> anyhow::Result<ExitCode> {
    let DeliveryArgs { one, delivery } = args;
    delivered(&one, WebhookOrder::Delivery { id: one.id, delivery }).await
}

pub(super) async fn resend(args: DeliveryArgs) -> anyhow::Result<ExitCode> {
    let DeliveryArgs { one, delivery } = args;
    delivered(&one, WebhookOrder::Resend { id: one.id, delivery }).await
}

/// Carries out an order about one delivery, and shows the delivery.
async fn delivered(args: &OneArgs, order: WebhookOrder) -> anyhow::Result<ExitCode> {
    let delivery = args.source.delivery(order).await?;
    match args.json {
        true => print::json(&delivery)?,
        false => print::delivery(&delivery)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn recover(args: RecoverArgs) -> anyhow::Result<ExitCode> {
    let RecoverArgs { one, since } = args;
    ordered(&one, WebhookOrder::Recover { id: one.id, since }).await
}

pub(super) async fn replay_history(args: ReplayHistoryArgs) -> anyhow::Result<ExitCode> {
    let ReplayHistoryArgs { recover: RecoverArgs { one, since }, types } = args;
    let types = (!types.is_empty()).then_some(types);
    ordered(&one, WebhookOrder::ReplayHistory { id: one.id, since, types }).await
}

/// Carries out an order of many deliveries, and says of how many.
async fn ordered(args: &OneArgs, order: WebhookOrder) -> anyhow::Result<ExitCode> {
    let count = args.source.count(order).await?;
    match args.json {
        true => print::json(&json!({ "count": count }))?,
        false => output::print(format_args!("{count} deliveries ordered"))?,
    }
    Ok(ExitCode::SUCCESS)
}
