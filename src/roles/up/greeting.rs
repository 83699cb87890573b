//! What `taskd up` says when it has started.

use crate::access::{Grant, grant};
use crate::domain::user::Role;
use crate::ground::output;
use crate::ground::secret::Secret;
use crate::http::middleware::admission::Policy;
use crate::store::Store;
use crate::store::accounts::users;

/// Prints the panel. If requests need a token and there is no admin yet, it makes the first admin's
/// token and shows it, this once.
pub(super) async fn greet(
    store: &Store,
    policy: Policy,
    panel: impl Fn(Option<&Secret>) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    if !policy.anybody {
        let mut connection = store.connection().await?;
        if !users::has_admin(&mut connection).await? {
            let first = Grant {
                user: "admin@localhost".into(),
                role: Some(Role::Admin),
                name: "first start of taskd up".into(),
                lifetime: None,
            };
            let show = |token: &Secret| match panel(Some(token)) {
                Ok(panel) => output::print_once(panel),
                Err(_) => output::print_once(token.expose()),
            };
            grant(&mut connection, &first, show).await?;
            return Ok(());
        }
    }
    Ok(output::print(panel(None)?)?)
}
