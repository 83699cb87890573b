//! Webhooks: listed, made, changed and deleted, with their secrets.

use std::io::IsTerminal;
use std::process::ExitCode;

use serde_json::json;

use super::args::{CreateArgs, DeleteArgs, ListArgs, OneArgs, RotateKeyArgs, UpdateArgs};
use super::print;
use crate::config::ConfigError;
use crate::ground::output;
use crate::webhooks::orders::{WebhookOrder, WebhookView};

pub(super) async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let webhooks = args.source.list(args.user).await?;
    match args.json {
        true => print::json(&webhooks)?,
        false => print::webhooks(&webhooks)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(args: OneArgs) -> anyhow::Result<ExitCode> {
    shown(&args, &args.source.webhook(WebhookOrder::Show { id: args.id }).await?)
}

pub(super) async fn update(args: Box<UpdateArgs>) -> anyhow::Result<ExitCode> {
    let UpdateArgs { one, patch } = *args;
    let order = WebhookOrder::Change { id: one.id, members: patch.members()? };
    shown(&one, &one.source.webhook(order).await?)
}

fn shown(args: &OneArgs, webhook: &WebhookView) -> anyhow::Result<ExitCode> {
    match args.json {
        true => print::json(webhook)?,
        false => print::webhook(webhook)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a webhook. One whose secret can't be printed is deleted again.
pub(super) async fn create(args: Box<CreateArgs>) -> anyhow::Result<ExitCode> {
    let members = args.new.members()?;
    let order = WebhookOrder::Create { user: args.new.user, members };
    let made = args.source.webhook(order).await?;
    let Err(error) = print::with_secret(&made, args.json) else { return Ok(ExitCode::SUCCESS) };
    if let Err(deletion) = args.source.delete(made.id).await {
        anyhow::bail!(
            "{error}, and webhook {}, whose secret nobody has seen, could not be deleted: {deletion}",
            made.id
        );
    }
    anyhow::bail!("{error}; the webhook was deleted again");
}

/// Says which webhook it is, then deletes it. Asks first, since nothing brings it back.
pub(super) async fn delete(args: DeleteArgs) -> anyhow::Result<ExitCode> {
    let DeleteArgs { one, yes } = args;
    let webhook = one.source.webhook(WebhookOrder::Show { id: one.id }).await?;
    if !yes && !std::io::stdin().is_terminal() {
        let problem =
            "is needed where nobody can be asked: a deleted webhook can't be brought back";
        return Err(ConfigError::new("--yes", problem).into());
    }
    shown(&one, &webhook)?;
    if !yes && !confirmed(one.id)? {
        output::complain("nothing was deleted");
        return Ok(ExitCode::FAILURE);
    }
    one.source.delete(one.id).await?;
    if !one.json {
        output::print(format_args!("webhook {} is deleted", one.id))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn confirmed(id: i64) -> anyhow::Result<bool> {
    eprint!("Delete webhook {id} and its deliveries for good? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Makes a new secret once something could be printed: a second one would end the secret that the
/// receiver has.
pub(super) async fn rotate_secret(args: OneArgs) -> anyhow::Result<ExitCode> {
    let id = args.id;
    args.source.webhook(WebhookOrder::Show { id }).await?;
    // An empty line, which is no part of a JSON document.
    output::print_once("")?;
    let rotated = args.source.webhook(WebhookOrder::RotateSecret { id }).await?;
    print::with_secret(&rotated, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Seals every secret under the present key. Exits 1 if there is one that no key opens.
pub(super) async fn rotate_key(args: RotateKeyArgs) -> anyhow::Result<ExitCode> {
    let (sealed, lost) = args.source.rotate_key().await?;
    match args.json {
        true => print::json(&json!({ "sealed": sealed, "lost": lost }))?,
        false => output::print(format_args!("{sealed} sealed under the first key"))?,
    }
    for id in &lost {
        output::complain(format_args!(
            "webhook {id}: no key of SECRET_KEY opens its secret: add the key it was sealed under, or \
             make a new secret by `taskd webhooks rotate-secret {id}`"
        ));
    }
    Ok(if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
