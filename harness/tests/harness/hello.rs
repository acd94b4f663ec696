//! Real messages of `hello` are what the published schema says.

use crate::common::manifest;
use lockstep_core::wire::Verb;
use lockstep_core::{Opened, Server};
use lockstep_env_counter::Counter;
use lockstep_harness::side::{HelloReply, HelloRequest};
use serde_json::json;

#[test]
fn hello_and_its_reply_fit_the_published_schema_in_every_configuration() {
    for environment in ["counter", "pong"] {
        for configuration in manifest(environment).configurations() {
            let mut hello = configuration.hello();
            hello["lanes"] = json!(4);
            hello["digests"] = json!(["xxh64", "blake2b"]);
            hello["settings"] = json!({});
            hello["draws"]["named"] = json!(true);
            let parsed: HelloRequest = serde_json::from_value(hello.clone())
                .unwrap_or_else(|error| panic!("{environment} {}: {error}", configuration.name));
            let again = serde_json::to_value(&parsed).expect("it is plain data");
            assert_eq!(again["canonical"], hello["canonical"]);
            if environment == "counter" {
                let mut reply = Vec::new();
                let mut server = Server::new("rust", Opened::scalar::<Counter>);
                server.answer(Verb::Hello, hello.to_string().as_bytes(), &mut reply).expect("it is a right hello");
                serde_json::from_slice::<HelloReply>(&reply).expect("the reply fits");
            }
        }
    }
}
