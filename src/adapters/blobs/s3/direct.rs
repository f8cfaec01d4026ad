//! The short way of a short blob: one signed PUT, past the SDK's machinery for every request, which costs more than all
//! the rest that is done for a small file.
//!
//! It can do nothing that the SDK cannot, and nothing in another way: where a bucket is, the SDK's own rules say; its own
//! crates sign and send; and an answer that is no plain success goes to the SDK to be read, so that an error means the
//! same on both ways. A bucket that wants another signature than version 4 has no short way.

use super::{S3Settings, put::PutFailed};
use crate::adapters::http::is_loopback;
use aws_sdk_s3::{
    Client, Config,
    config::{
        Credentials, SharedHttpClient,
        endpoint::{DefaultResolver, Params, ResolveEndpoint as _},
        http::{HttpRequest, HttpResponse},
    },
    error::SdkError,
    operation::put_object::PutObjectOutput,
    primitives::{ByteStream, SdkBody},
};
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn},
    identity::Identity,
};
use bytes::Bytes;
use futures::FutureExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// What of a key does not stand in an address as it is.
const UNFIT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The short way to a bucket.
#[derive(Debug)]
pub(super) struct Direct {
    /// What stands before a key in its address.
    base: String,
    region: String,
    identity: Identity,
    settings: SigningSettings,
    connector: SharedHttpConnector,
    limit: Duration,
}

impl Direct {
    /// The way to the bucket of these settings, if there is one.
    pub(super) fn new(settings: &S3Settings, connect: Duration) -> Option<Self> {
        let params = Params::builder()
            .bucket(&settings.bucket)
            .region(&settings.region)
            .endpoint(settings.endpoint.as_str())
            .force_path_style(settings.path_style);
        // The rules ask nobody, so the answer is there at once.
        let found = DefaultResolver::new().resolve_endpoint(&params.build().ok()?).now_or_never()?.ok()?;
        let scheme = found.auth_schemes().first().filter(|scheme| scheme.name() == "sigv4")?;
        let said = |name: &str| scheme.get(name)?.as_string();
        if said("signingName") != Some("s3") {
            return None;
        }
        let region = said("signingRegion")?.to_owned();
        let (access, secret) = (settings.access_key.expose_secret(), settings.secret_key.expose_secret());
        let mut signing = SigningSettings::default();
        signing.percent_encoding_mode = PercentEncodingMode::Single;
        signing.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        signing.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        Some(Self {
            base: format!("{}/", found.url().trim_end_matches('/')),
            region,
            identity: Credentials::new(access, secret, None, None, "plan").into(),
            settings: signing,
            connector: connector(settings, connect),
            limit: settings.timeout,
        })
    }

    /// Stores content under this key of the bucket, with these headers.
    pub(super) async fn put(
        &self,
        client: &Client,
        (bucket, key): (&str, &str),
        content: Bytes,
        headers: Vec<(String, String)>,
    ) -> Result<PutObjectOutput, PutFailed> {
        let request = self.request(key, content, headers).map_err(SdkError::construction_failure)?;
        let answered = async {
            let mut answer = self.connector.call(request).await.map_err(SdkError::dispatch_failure)?;
            // To its end, so that the connection is free for the next one.
            match ByteStream::new(answer.take_body()).collect().await {
                Ok(body) => Ok((answer, body.into_bytes())),
                Err(error) => Err(SdkError::response_error(error, answer)),
            }
        };
        let (mut answer, body) =
            tokio::time::timeout(self.limit, answered).await.map_err(SdkError::timeout_error)??;
        if answer.status().as_u16() != 200 {
            *answer.body_mut() = SdkBody::from(body);
            return read_by(client, bucket, key, answer).await;
        }
        let said = |name: &str| answer.headers().get(name).map(str::to_owned);
        let output = PutObjectOutput::builder()
            .set_e_tag(said("etag"))
            .set_checksum_sha256(said("x-amz-checksum-sha256"))
            .set_checksum_type(said("x-amz-checksum-type").map(|kind| kind.as_str().into()));
        Ok(output.build())
    }

    fn request(
        &self,
        key: &str,
        content: Bytes,
        mut headers: Vec<(String, String)>,
    ) -> Result<HttpRequest, Box<dyn std::error::Error + Send + Sync>> {
        let uri = format!("{}{}", self.base, utf8_percent_encode(key, UNFIT));
        headers.push(("content-length".into(), content.len().to_string()));
        let signed = {
            let plain = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            // The signed checksum is of the same bytes.
            let signable = SignableRequest::new("PUT", uri.as_str(), plain, SignableBody::UnsignedPayload)?;
            let params = v4::SigningParams::builder()
                .identity(&self.identity)
                .region(&self.region)
                .name("s3")
                .time(SystemTime::now())
                .settings(self.settings.clone())
                .build()?
                .into();
            sign(signable, &params)?.into_parts().0
        };
        let mut request = HttpRequest::new(SdkBody::from(content));
        request.set_method("PUT")?;
        request.set_uri(uri)?;
        let all = request.headers_mut();
        for (name, value) in headers {
            all.try_insert(name, value)?;
        }
        for (name, value) in signed.headers() {
            all.try_insert(name.to_owned(), value.to_owned())?;
        }
        all.insert("user-agent", concat!("cutover/", env!("CARGO_PKG_VERSION")));
        Ok(request)
    }
}

/// The same client as the SDK's own, but that it asks no proxy for a server on this machine.
pub(super) fn connector(settings: &S3Settings, connect: Duration) -> SharedHttpConnector {
    let timeouts = HttpConnectorSettings::builder().connect_timeout(connect).read_timeout(settings.timeout).build();
    let builder = Connector::builder().connector_settings(timeouts);
    if settings.endpoint.scheme() == "http" && is_loopback(&settings.endpoint) {
        return SharedHttpConnector::new(builder.build_http());
    }
    let crypto = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    SharedHttpConnector::new(builder.proxy_config(ProxyConfig::from_env()).tls_provider(crypto).build())
}

/// What the SDK makes of an answer.
async fn read_by(client: &Client, bucket: &str, key: &str, answer: HttpResponse) -> Result<PutObjectOutput, PutFailed> {
    let told = SharedHttpConnector::new(Told(Mutex::new(Some(answer))));
    let http: SharedHttpClient = http_client_fn(move |_, _| told.clone());
    let request = client.put_object().bucket(bucket).key(key).customize();
    request.config_override(Config::builder().http_client(http)).send().await
}

/// A connection on which the answer has come already.
#[derive(Debug)]
struct Told(Mutex<Option<HttpResponse>>);

impl HttpConnector for Told {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = || aws_smithy_runtime_api::client::result::ConnectorError::user("answered once".into());
        HttpConnectorFuture::ready(answer.ok_or_else(gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::PartLimits;

    #[test]
    fn usual_buckets_have_a_short_way_to_where_the_sdk_finds_them() {
        let base = |endpoint: &str, bucket: &str, path_style: bool| {
            let settings = S3Settings {
                endpoint: endpoint.parse().unwrap(),
                bucket: bucket.into(),
                region: "auto".into(),
                access_key: "access".into(),
                secret_key: "never-shown".into(),
                path_style,
                timeout: Duration::from_secs(9),
                parts: PartLimits::default(),
            };
            let direct = Direct::new(&settings, settings.timeout);
            assert!(!format!("{direct:?}").contains("never-shown"));
            direct.map(|direct| (direct.base, direct.region))
        };
        for (endpoint, bucket, path_style, there) in [
            ("http://127.0.0.1:9000", "list-cutter", true, "http://127.0.0.1:9000/list-cutter/"),
            ("http://127.0.0.1:9000/below/", "b.c", true, "http://127.0.0.1:9000/below/b.c/"),
            ("https://x.r2.cloudflarestorage.com", "media", true, "https://x.r2.cloudflarestorage.com/media/"),
            ("https://s3.example.com", "media", false, "https://media.s3.example.com/"),
        ] {
            assert_eq!(base(endpoint, bucket, path_style), Some((there.to_owned(), "auto".to_owned())));
        }
        // A bucket of another kind, which signs otherwise.
        assert_eq!(base("https://s3.example.com", "media--use1-az4--x-s3", false), None);
    }
}
