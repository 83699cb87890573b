//! `Idempotency-Key` where the answer shows a token: it is repeated to who asked, and readable by nobody.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::access::{House, PASSWORD, TOKENS};
use crate::http_idempotency::{lasting, post, waits_for_a_lock};
use taskd_testing::{Answer, Api, Db, Process};

/// A second instance; neither counts attempts to sign in.
async fn two(house: &House) -> (Process, Process) {
    let more = [TOKENS[0], ("RATE_LIMIT_SIGN_IN", "off")];
    tokio::join!(house.world.serve_with(&more), house.world.serve_with(&more))
}

fn at(serve: &Process, api: &Api) -> Api {
    Api { base: serve.api().base, ..api.clone() }
}

fn credentials(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD })
}

fn token(answer: &Answer) -> String {
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// How many tokens there are besides the two that the house began with, and how many keys.
async fn counts(db: &Db) -> [i64; 2] {
    [db.count("tokens").await - 2, db.count("idempotency_keys").await]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_repeat_shows_the_same_token_on_every_instance() {
    let house = House::new().await;
    let (one, two) = two(&house).await;
    for (number, (path, body)) in
        [("/tokens", json!({ "name": "t" })), ("/sessions", credentials("member@example.com"))]
            .into_iter()
            .enumerate()
    {
        let first = post(&at(&one, &house.member), path, "k", &body).await;
        assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""), "{path}");
        for serve in [&one, &two] {
            let again = post(&at(serve, &house.member), path, "\"k\"", &body).await;
            assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
            assert_eq!(lasting(&again), lasting(&first), "{path}");
        }
        two.api().with_token(&token(&first)).get("/tasks").await.expect(200);
        let count = number as i64 + 1;
        assert_eq!(counts(&house.world.db().await).await, [count; 2], "{path}");
    }
    let other = post(&at(&two, &house.member), "/tokens", "k", &json!({ "name": "u" })).await;
    assert_eq!(other.code(422), "idempotency_key_reused");
    // The same user, and another body all the same.
    let other = post(&two.api(), "/sessions", "k", &credentials("MEMBER@example.com")).await;
    assert_eq!(other.code(422), "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn of_racing_repeats_on_two_instances_one_makes_a_token() {
    let house = House::new().await;
    let (one, two) = two(&house).await;
    for (path, body) in
        [("/tokens", json!({ "name": "t" })), ("/sessions", credentials("member@example.com"))]
    {
        let mut racing = tokio::task::JoinSet::new();
        for number in 0..12 {
            let api = at(if number % 2 == 0 { &one } else { &two }, &house.member);
            let body = body.clone();
            racing.spawn(async move { post(&api, path, "k", &body).await });
        }
        let answers = racing.join_all().await;
        let (kept, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 201);
        let carried_out = kept.iter().filter(|a| a.header("idempotency-replayed").is_empty());
        assert_eq!(carried_out.count(), 1, "{path}");
        assert!(kept.iter().all(|answer| token(answer) == token(&kept[0])), "{path}");
        for answer in refused {
            assert_eq!(answer.header("retry-after"), "1");
            assert_eq!(answer.code(409), "idempotency_key_in_use");
        }
    }
    assert_eq!(counts(&house.world.db().await).await, [2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn the_database_has_neither_the_token_nor_a_piece_of_it() {
    let house = House::new().await;
    let made = post(&house.member, "/tokens", "k", &json!({ "name": "t" })).await;
    let session =
        post(&house.anonymous(), "/sessions", "k", &credentials("member@example.com")).await;
    let db = house.world.db().await;
    // bytea is written as hexadecimal digits here.
    let rows = db.rows("SELECT * FROM idempotency_keys").await;
    let everything = db.rows("SELECT * FROM tokens").await;
    assert_eq!((rows.len(), everything.len()), (2, 4));
    for row in &rows {
        let body = row["body"].to_string();
        assert!(bytes_of(body.trim_matches('"')).len() > 100, "it is read as bytes: {body}");
    }
    for answer in [made, session] {
        let token = token(&answer);
        let random = token.strip_prefix("taskd_").unwrap();
        let secrets = [
            token.as_bytes().to_vec(),
            BASE64_URL_SAFE_NO_PAD.decode(random).unwrap(),
            PASSWORD.as_bytes().to_vec(),
        ];
        for row in rows.iter().chain(&everything) {
            for column in row.as_object().unwrap().values() {
                let text = column.to_string();
                let bytes = bytes_of(text.trim_matches('"'));
                for secret in &secrets {
                    for piece in secret.windows(6) {
                        assert!(!contains(text.as_bytes(), piece), "{text}");
                        assert!(!contains(&bytes, piece), "{text}");
                    }
                }
            }
        }
    }
}

fn contains(text: &[u8], piece: &[u8]) -> bool {
    text.windows(piece.len()).any(|part| part == piece)
}

/// What a bytea is that PostgreSQL writes as `\x…`, which JSON writes with one more backslash.
fn bytes_of(text: &str) -> Vec<u8> {
    let Some(digits) = text.strip_prefix(r"\\x") else { return Vec::new() };
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn two_people_may_have_one_key_and_a_wrong_password_gets_nothing() {
    let house = House::new().await;
    let api = house.anonymous();
    house.admin.user("ada@example.com").await;
    let member = post(&api, "/sessions", "k", &credentials("member@example.com")).await;
    let ada = post(&api, "/sessions", "k", &credentials("ada@example.com")).await;
    assert_eq!((member.status, ada.status), (201, 201));
    assert_eq!(ada.header("idempotency-replayed"), "");
    assert_eq!(ada.json()["user"]["email"], "ada@example.com");
    let wrong = json!({ "email": "ada@example.com", "password": "wrong horse" });
    for key in ["k", "another"] {
        assert_eq!(post(&api, "/sessions", key, &wrong).await.code(401), "bad_credentials");
    }
    assert_eq!(counts(&house.world.db().await).await, [2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_new_password_nothing_is_repeated() {
    let house = House::embedded().await;
    let api = house.anonymous();
    let old = credentials("member@example.com");
    post(&api, "/sessions", "k", &old).await.expect(201);
    let itself = format!("/users/{}", house.member_id);
    let change = async |password: &str| {
        house.admin.patch(&itself, json!({ "password": password })).await.expect(200)
    };
    change("another horse").await;
    assert_eq!(post(&api, "/sessions", "k", &old).await.code(401), "bad_credentials");
    let new = json!({ "email": "member@example.com", "password": "another horse" });
    assert_eq!(post(&api, "/sessions", "k", &new).await.code(422), "idempotency_key_reused");
    post(&api, "/sessions", "l", &new).await.expect(201);
    // Nor after the old one again: its sessions have ended.
    change(PASSWORD).await;
    assert_eq!(post(&api, "/sessions", "k", &old).await.code(422), "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_token_is_repeated_to_the_one_that_asked_and_not_once_that_is_revoked() {
    let house = House::new().await;
    let body = json!({ "name": "t" });
    let asking = post(&house.member, "/tokens", "a", &json!({ "name": "asks" })).await;
    let location = asking.header("location").to_owned();
    let asks = house.anonymous().with_token(&token(&asking));
    let made = post(&asks, "/tokens", "k", &body).await;
    // Another token of the same user is not enough, and makes no second one.
    let other = post(&house.member, "/tokens", "k", &body).await;
    assert_eq!(other.code(422), "idempotency_key_reused");
    assert_eq!(lasting(&post(&asks, "/tokens", "k", &body).await), lasting(&made));
    house.member.delete(&location).await.expect(204);
    assert_eq!(post(&asks, "/tokens", "k", &body).await.code(401), "invalid_token");
    assert_eq!(counts(&house.world.db().await).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn while_somebody_is_being_signed_in_a_repeat_is_told_to_wait() {
    let house = House::new().await;
    let (holder, looker) = (house.world.db().await, house.world.db().await);
    holder.run("BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE").await;
    let api = house.anonymous();
    let body = credentials("member@example.com");
    let first = tokio::spawn({
        let (api, body) = (api.clone(), body.clone());
        async move { post(&api, "/sessions", "k", &body).await }
    });
    waits_for_a_lock(&looker).await;
    let second = post(&api, "/sessions", "k", &body).await;
    assert_eq!(second.header("retry-after"), "1");
    assert_eq!(second.code(409), "idempotency_key_in_use");
    holder.run("COMMIT").await;
    assert_eq!(token(&first.await.unwrap()), token(&post(&api, "/sessions", "k", &body).await));
    assert_eq!(counts(&looker).await, [1, 1]);
}
