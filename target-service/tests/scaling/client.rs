//! The client: each kind of answer, and what it leaves behind for the next request.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use target_service::scaling::client::{Client, RequestError, Scale, SetupError};

use crate::fake_api::{Act, FakeApi, PATH};

fn client(api: &FakeApi) -> Client {
    Client::new("127.0.0.1", api.address.port(), &api.service_account(), "cart").unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

#[test]
fn a_read_then_a_write_with_its_resource_version_and_the_late_one_conflicts() {
    let api = FakeApi::start(3);
    block_on(async {
        let (mut first, mut second) = (client(&api), client(&api));
        let read = first.read().await.unwrap();
        assert_eq!(read, Scale { replicas: 3, resource_version: "1".into() });
        assert_eq!(second.read().await.unwrap(), read);
        first.write(&read, 5).await.unwrap();
        let late = second.write(&read, 1).await;
        assert!(matches!(&late, Err(RequestError::Status(status)) if *status == 409), "{late:?}");
        assert_eq!(second.read().await.unwrap().replicas, 5, "the late one wrote nothing");
    });
    let state = api.state.lock().unwrap();
    let seen: Vec<_> = state.seen.iter().map(|seen| (&*seen.method, &*seen.content_type)).collect();
    let patch = ("PATCH", "application/merge-patch+json");
    assert_eq!(seen, [("GET", ""), ("GET", ""), patch, patch, ("GET", "")]);
    assert!(state.seen.iter().all(|seen| seen.path == PATH));
    assert!(state.seen.iter().all(|seen| seen.authorization == "Bearer first"));
    assert_eq!(state.connections, 2, "one each, kept");
}

#[test]
fn errors_are_told_apart_by_status_and_kind_and_the_next_request_is_answered() {
    let answer = |status, body: &str| Act::Answer(status, body.into());
    // A name for each kind; whether the connection is kept for the next request.
    let rows = [
        (answer(409, "{}"), "409", true),
        (answer(429, "busy"), "429", true),
        (answer(500, "{}"), "500", true),
        (answer(403, "{}"), "403", true),
        (answer(404, ""), "404", true),
        (answer(301, ""), "301", true),
        (answer(204, ""), "204", true),
        (answer(200, "<html>"), "malformed", true),
        (answer(200, "{\"spec\": {\"replicas\": 3}}"), "malformed", true),
        (answer(200, "{\"metadata\": {}, \"spec\": {\"replicas\": -1}}"), "malformed", true),
        (answer(200, &"x".repeat(65 << 10)), "too large", false),
        (answer(429, &"x".repeat(65 << 10)), "too large", false),
        (Act::Silence, "timed out", false),
        (Act::Close, "http", false),
    ];
    for (act, expected, is_kept) in rows {
        let api = FakeApi::start(3);
        let what = format!("{act:.40?}");
        let is_silent = matches!(act, Act::Silence);
        let mut client = client(&api);
        if is_silent {
            client = client.with_time_out(Duration::from_millis(200));
        }
        let (seen, next) = block_on(async {
            // The connection is there before it goes wrong.
            client.read().await.unwrap();
            api.act(act);
            let seen = kind(client.read().await);
            (seen, client.with_time_out(Duration::from_secs(60)).read().await)
        });
        assert_eq!(seen, expected, "{what}");
        assert_eq!(next.unwrap().replicas, 3, "{what}");
        let connections = if is_kept { 1 } else { 2 };
        assert_eq!(api.state.lock().unwrap().connections, connections, "{what}");
    }
}

fn kind(result: Result<Scale, RequestError>) -> String {
    match result {
        Ok(scale) => format!("{scale:?}"),
        Err(RequestError::Status(status)) => status.as_str().into(),
        Err(RequestError::TimedOut) => "timed out".into(),
        Err(RequestError::Token(_)) => "token".into(),
        Err(RequestError::Connect(_)) => "connect".into(),
        Err(RequestError::Http(_)) => "http".into(),
        Err(RequestError::TooLarge) => "too large".into(),
        Err(RequestError::Malformed(_)) => "malformed".into(),
    }
}

#[test]
fn a_deployment_at_zero_is_read_although_zero_is_left_out() {
    let api = FakeApi::start(0);
    assert_eq!(block_on(client(&api).read()).unwrap().replicas, 0);
}

#[test]
fn the_token_is_read_anew_each_time_and_without_one_nothing_is_asked() {
    let api = FakeApi::start(3);
    let token = api.service_account().join("token");
    block_on(async {
        let mut client = client(&api);
        client.read().await.unwrap();
        fs::write(&token, "second").unwrap();
        client.read().await.unwrap();
        fs::write(&token, "a\nb").unwrap();
        assert_eq!(kind(client.read().await), "token", "it cannot be a header's value");
        fs::remove_file(&token).unwrap();
        assert_eq!(kind(client.read().await), "token");
    });
    let state = api.state.lock().unwrap();
    let seen: Vec<_> = state.seen.iter().map(|seen| &*seen.authorization).collect();
    assert_eq!(seen, ["Bearer first", "Bearer second"]);
}

#[test]
fn a_server_that_is_not_trusted_is_told_nothing() {
    let (api, other) = (FakeApi::start(3), FakeApi::start(3));
    let stranger = other.service_account();
    let client = Client::new("127.0.0.1", api.address.port(), &stranger, "cart");
    assert_eq!(kind(block_on(client.unwrap().read())), "connect");
    // Its certificate is for 127.0.0.1 alone.
    let client =
        Client::new("localhost", api.address.port(), &api.service_account(), "cart").unwrap();
    assert_eq!(kind(block_on(client.with_time_out(Duration::from_secs(60)).read())), "connect");
    assert!(api.state.lock().unwrap().seen.is_empty());
}

#[test]
fn a_server_that_is_away_is_no_connection() {
    let api = FakeApi::start(3);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new("127.0.0.1", nobody.port(), &api.service_account(), "cart");
    assert_eq!(kind(block_on(client.unwrap().read())), "connect");
}

#[test]
fn a_folder_that_is_no_service_account_is_refused_by_what_it_lacks() {
    let api = FakeApi::start(3);
    let folder = api.service_account();
    let open = || Client::new("127.0.0.1", api.address.port(), &folder, "cart").err();
    let authority = fs::read(folder.join("ca.crt")).unwrap();
    let write = |name: &str, text: &[u8]| fs::write(folder.join(name), text).unwrap();
    assert!(open().is_none());
    write("ca.crt", b"");
    assert!(matches!(open(), Some(SetupError::Pem { .. })), "no certificate in it");
    write("ca.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(matches!(open(), Some(SetupError::Trust { .. })), "not a certificate");
    write("ca.crt", &vec![b'a'; 2 << 20]);
    assert!(matches!(open(), Some(SetupError::File { .. })), "beyond any bundle");
    write("ca.crt", &authority);
    write("namespace", b"../../secrets");
    assert!(matches!(open(), Some(SetupError::Namespace(_))));
    fs::remove_file(folder.join("namespace")).unwrap();
    assert!(matches!(open(), Some(SetupError::File { path, .. }) if path.ends_with("namespace")));
    let nowhere = Client::new("127.0.0.1", 443, Path::new("/nonexistent"), "cart");
    assert!(matches!(nowhere, Err(SetupError::File { .. })));
    write("namespace", b"shop\n");
    let host = Client::new("not a host", 443, &folder, "cart");
    assert!(matches!(host, Err(SetupError::Host(_))));
}
