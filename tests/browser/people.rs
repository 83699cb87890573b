//! Who tests sign in as, and the instance they sign in to.

use serde_json::json;
use taskd_testing::{Api, Process, World};

pub const PASSWORD: &str = "correct horse battery";
pub const ADMIN: &str = "admin@example.com";
pub const MEMBER: &str = "member@example.com";
pub const VIEWER: &str = "viewer@example.com";

/// An instance that asks for tokens, with somebody of each role.
pub struct Instance {
    pub serve: Process,
    pub base: String,
    /// With the token of an admin.
    pub api: Api,
    pub member: i64,
}

impl Instance {
    pub async fn start(world: &World) -> Instance {
        let token = world.token(&["--user", "1", "--admin"]).await;
        let serve = world.serve_with(&[("TASKD_AUTH", "tokens")]).await;
        let api = serve.api().with_token(&token);
        let mut ids = Vec::new();
        for (email, name, role) in [
            (ADMIN, "Ada Admin", "admin"),
            (MEMBER, "Milan Member", "member"),
            (VIEWER, "Vera Viewer", "viewer"),
        ] {
            let user = json!({ "email": email, "name": name, "role": role, "password": PASSWORD });
            ids.push(api.post("/users", user).await.expect(201)["id"].as_i64().unwrap());
        }
        Instance { base: serve.api().base, serve, api, member: ids[1] }
    }
}
