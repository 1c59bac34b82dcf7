//! For which service a token is asked (RFC 8707).

use crate::app::App;
use crate::failure::Failure;
use crate::merchants::Service;
use margrave_shared::error::ErrorCode;

/// The audiences of a token of a merchant: the service asked for and, for the first party, the issuer itself.
/// Without `resource` it is the merchant's only service; with none, the issuer alone.
///
/// # Errors
/// `invalid_target` for a service that is not this merchant's, or when there are several and none is named.
pub(crate) fn choose_audience(
    app: &App,
    services: &[Service],
    resource: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let own = app.public_url.clone();
    let chosen: Option<&Service> = match resource {
        Some(name) if name == own => return Ok(vec![own]),
        Some(name) => Some(
            services
                .iter()
                .find(|service| service.audience == name)
                .ok_or(Failure::denied(ErrorCode::InvalidTarget, "unknown_service"))?,
        ),
        None => match services {
            [] => None,
            [only] => Some(only),
            _ => return Err(Failure::denied(ErrorCode::InvalidTarget, "several_services")),
        },
    };
    Ok(chosen.map(|service| service.audience.clone()).into_iter().chain([own]).collect())
}
