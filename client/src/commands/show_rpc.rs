//! `--show-rpc`: each call as a grpcurl line, so that the tool documents the API.

use std::sync::OnceLock;

use greffe::ServerAddress;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

/// Fields whose values are never shown.
const SECRETS: [&str; 4] = ["password", "currentPassword", "newPassword", "invitation"];
/// Methods that need no login.
const OPEN: [&str; 3] = [
    "/greffe.v1.ServerService/GetServerInfo",
    "/greffe.v1.AuthService/Register",
    "/greffe.v1.AuthService/LogIn",
];

/// The command line that makes the call at `path` with this encoded request.
pub(crate) fn line(address: &ServerAddress, path: &str, request: &[u8]) -> String {
    let mut words = vec!["grpcurl".to_owned()];
    if !address.is_tls() {
        words.push("-plaintext".to_owned());
    }
    if !OPEN.contains(&path) {
        words.push("-H \"authorization: Bearer $TOKEN\"".to_owned());
    }
    let data = json(path, request).unwrap_or_else(|| "{}".to_owned());
    words.push(format!("-d {}", quoted(&data)));
    words.push(address.authority());
    words.push(path.trim_start_matches('/').to_owned());
    words.join(" ")
}

fn json(path: &str, request: &[u8]) -> Option<String> {
    let (service, method) = path.trim_start_matches('/').split_once('/')?;
    let method = pool()?
        .get_service_by_name(service)?
        .methods()
        .find(|found| found.name() == method)?;
    let message = DynamicMessage::decode(method.input(), request).ok()?;
    let mut value = serde_json::to_value(message).ok()?;
    for secret in SECRETS {
        if let Some(field) = value.get_mut(secret) {
            *field = Value::String(format!("${}", secret.to_ascii_uppercase()));
        }
    }
    Some(value.to_string())
}

fn pool() -> Option<&'static DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(greffe_api::FILE_DESCRIPTOR_SET).ok())
        .as_ref()
}

/// One word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use greffe::Method;
    use greffe::api::{LogInRequest, SendMessageRequest};
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_call_is_a_line_that_a_shell_can_run() -> Result<(), greffe::Error> {
        let request = SendMessageRequest {
            request_id: "r".into(),
            room_id: "g".into(),
            text: "it's".into(),
            reply_to_seq: 0,
        };
        let line = line(
            &"http://127.0.0.1:5".parse()?,
            SendMessageRequest::PATH,
            &request.encode_to_vec(),
        );
        assert_eq!(
            line,
            "grpcurl -plaintext -H \"authorization: Bearer $TOKEN\" \
             -d '{\"requestId\":\"r\",\"roomId\":\"g\",\"text\":\"it'\\''s\"}' 127.0.0.1:5 greffe.v1.ChatService/SendMessage"
        );
        Ok(())
    }

    #[test]
    fn secrets_are_not_shown() -> Result<(), greffe::Error> {
        let request = LogInRequest {
            user_name: "a".into(),
            password: "hunter2".into(),
            client: String::new(),
        };
        let line = line(&"https://h:5".parse()?, LogInRequest::PATH, &request.encode_to_vec());
        assert!(
            !line.contains("hunter2") && line.contains("$PASSWORD") && !line.contains("TOKEN"),
            "{line}"
        );
        Ok(())
    }
}
