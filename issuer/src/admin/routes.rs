//! Every administrative route on one screen.

use super::{
    account_routes as account, application_routes as application, audit_routes as audit,
    device_routes as device, edge_routes as edge, key_routes as key, merchant_routes as merchant,
    organization_routes as organization, reset_routes as reset, role_routes as role,
    signing_key_routes as signing, sso_routes as sso,
};
use crate::accounts::Account;
use crate::applications::Application;
use crate::devices::routes::Devices;
use crate::http::operation::Access::{Merchant, Platform};
use crate::http::operation::Act::{Read, Write};
use crate::http::operation::{Operation, Parameter, delete, get, post, put};
use crate::merchants::MerchantLimits;
use crate::organizations::{Organization, OrganizationFacts};
use crate::permissions::{AccountRights, Role};
use crate::recovery::Reset;
use crate::sso::SsoSecret;
use margrave_shared::account_reset::MAY_RESET;
use margrave_shared::error::ErrorCode::{Conflict, LimitReached};

const PAGE: &[Parameter] =
    &[("after", "string", "`next` of the page before."), ("limit", "integer", "How many; by default 50.")];
const DISABLED: &[Parameter] = &[("disabled", "boolean", "Only these, or only the others.")];
const ACCOUNTS: &[Parameter] =
    &[("login", "string", "A username or X-address."), ("role", "string", "A role that they have.")];
const ENTRIES: &[Parameter] = &[
    ("act", "string", "What was done or tried."),
    ("outcome", "string", "`done` or `refused`."),
    ("reason", "string", "Why it was refused."),
    ("actor", "string", "Who did it."),
    ("subject", "string", "To whom or what."),
    ("request_id", "string", "The request."),
    ("since", "integer", "Not before, in Unix milliseconds."),
    ("until", "integer", "Before, in Unix milliseconds."),
];
const WITHIN: &[Parameter] = &[("merchant", "string", "Within this merchant.")];
const HEAD: &[Parameter] = &[("head", "string", "A place that was written down before, as `SEQ:HASH`.")];

/// `/admin/v1`
pub(crate) fn operations() -> Vec<Operation> {
    let operations = vec![
        // Merchants.
        get("/merchants", "listMerchants", merchant::list)
            .says("List the merchants.")
            .needs(Platform(Read))
            .query(PAGE)
            .query(DISABLED)
            .answers::<merchant::MerchantPage>(200),
        post("/merchants", "createMerchant", merchant::create)
            .says("Make a merchant.")
            .needs(Platform(Write))
            .takes::<merchant::NewMerchantBody>()
            .repeatable()
            .tagged()
            .answers::<merchant::MadeMerchant>(201),
        get("/merchants/{merchant}", "showMerchant", merchant::show)
            .says("Show a merchant.")
            .needs(Merchant(Read))
            .tagged()
            .answers::<merchant::WholeMerchant>(200),
        put("/merchants/{merchant}", "changeMerchant", merchant::change)
            .says("Change a merchant's name and settings.")
            .needs(Merchant(Write))
            .takes::<merchant::MerchantBody>()
            .versioned()
            .tagged()
            .answers::<merchant::WholeMerchant>(200),
        put("/merchants/{merchant}/services", "changeServices", merchant::services)
            .says("Give a merchant these services and no others.")
            .needs(Platform(Write))
            .takes::<merchant::ServicesBody>()
            .versioned()
            .tagged()
            .answers::<merchant::WholeMerchant>(200),
        put("/merchants/{merchant}/limits", "changeLimits", merchant::limits)
            .says("Say how much a merchant may have. What it has already stays.")
            .needs(Platform(Write))
            .takes::<MerchantLimits>()
            .versioned()
            .tagged()
            .answers::<merchant::WholeMerchant>(200),
        post("/merchants/{merchant}/disable", "disableMerchant", merchant::disable)
            .says("Disable a merchant and revoke its keys.")
            .needs(Platform(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
        post("/merchants/{merchant}/enable", "enableMerchant", merchant::enable)
            .says("Open a disabled merchant. Its keys stay revoked.")
            .needs(Platform(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
        delete("/merchants/{merchant}/sessions", "endMerchantSessions", merchant::end_sessions)
            .says("End every session of every account of a merchant.")
            .needs(Merchant(Write))
            .answers::<merchant::EndedAccounts>(200),
        get("/merchants/{merchant}/sso-secret", "showSsoSecret", sso::show)
            .says("Say since when a merchant has the secret by which its page vouches for users. It is not shown.")
            .needs(Merchant(Read))
            .answers::<SsoSecret>(200),
        post("/merchants/{merchant}/sso-secret", "setSsoSecret", sso::set)
            .says("Set or make a merchant's SSO secret. It is shown this once; the one before counts for another day.")
            .needs(Merchant(Write))
            .takes::<sso::SecretBody>()
            .repeatable()
            .tagged()
            .answers::<sso::ShownSecret>(201),
        delete("/merchants/{merchant}/sso-secret", "deleteSsoSecret", sso::remove)
            .says("Take a merchant's SSO secrets away.")
            .needs(Merchant(Write))
            .answers_as(204, ""),
        post("/merchants/{merchant}/sso-secret/check", "checkSso", sso::try_out)
            .says("Say whom a text vouches for that the merchant's page has signed, or what is wrong with it. Nobody is logged in.")
            .needs(Merchant(Write))
            .takes::<sso::CheckBody>()
            .answers::<sso::Checked>(200),
        // Keys.
        get("/merchants/{merchant}/keys", "listKeys", key::list)
            .says("List a merchant's keys.")
            .needs(Merchant(Read))
            .query(PAGE)
            .answers::<key::KeyPage>(200),
        post("/merchants/{merchant}/keys", "createKey", key::create)
            .says("Make a key. Its secret is shown this once.")
            .needs(Merchant(Write))
            .takes::<key::KeyBody>()
            .repeatable()
            .tagged()
            .refuses(&[LimitReached])
            .answers::<key::ShownKey>(201),
        post("/merchants/{merchant}/keys/{key}/rotate", "rotateKey", key::rotate)
            .says("Make a successor of a key; the old one lives for another day.")
            .needs(Merchant(Write))
            .repeatable()
            .tagged()
            .refuses(&[LimitReached])
            .answers::<key::ShownKey>(201),
        delete("/merchants/{merchant}/keys/{key}", "revokeKey", key::revoke)
            .says("Revoke a key at once.")
            .needs(Merchant(Write))
            .answers_as(204, ""),
        // Roles.
        get("/merchants/{merchant}/roles", "listRoles", role::list)
            .says("List a merchant's roles.")
            .needs(Merchant(Read))
            .query(PAGE)
            .answers::<role::RolePage>(200),
        post("/merchants/{merchant}/roles", "createRole", role::create)
            .says("Make a role.")
            .needs(Merchant(Write))
            .takes::<role::NewRoleBody>()
            .repeatable()
            .tagged()
            .answers::<Role>(201),
        get("/merchants/{merchant}/roles/{role}", "showRole", role::show)
            .says("Show a role.")
            .needs(Merchant(Read))
            .tagged()
            .answers::<Role>(200),
        put("/merchants/{merchant}/roles/{role}", "changeRole", role::change)
            .says("Change what a role permits. Where that becomes less, the tokens of those who have it end.")
            .needs(Merchant(Write))
            .takes::<role::RoleBody>()
            .versioned()
            .tagged()
            .answers::<Role>(200),
        delete("/merchants/{merchant}/roles/{role}", "deleteRole", role::remove)
            .says("Delete a role.")
            .needs(Merchant(Write))
            .versioned()
            .answers_as(204, ""),
        // Applications.
        get("/merchants/{merchant}/applications", "listApplications", application::list)
            .says("List a merchant's applications.")
            .needs(Merchant(Read))
            .query(PAGE)
            .answers::<application::ApplicationPage>(200),
        post("/merchants/{merchant}/applications", "createApplication", application::create)
            .says("Register an application.")
            .needs(Merchant(Write))
            .takes::<application::ApplicationBody>()
            .repeatable()
            .tagged()
            .refuses(&[LimitReached])
            .answers::<Application>(201),
        get("/merchants/{merchant}/applications/{application}", "showApplication", application::show)
            .says("Show an application.")
            .needs(Merchant(Read))
            .tagged()
            .answers::<Application>(200),
        put("/merchants/{merchant}/applications/{application}", "changeApplication", application::change)
            .says("Change an application's name and class.")
            .needs(Merchant(Write))
            .takes::<application::ApplicationBody>()
            .versioned()
            .tagged()
            .answers::<Application>(200),
        post("/merchants/{merchant}/applications/{application}/disable", "disableApplication", application::disable)
            .says("Let nobody log in with an application any more.")
            .needs(Merchant(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
        post("/merchants/{merchant}/applications/{application}/enable", "enableApplication", application::enable)
            .says("Open a disabled application.")
            .needs(Merchant(Write))
            .refuses(&[Conflict, LimitReached])
            .answers_as(204, ""),
        // Organisations.
        get("/merchants/{merchant}/organizations", "listOrganizations", organization::list)
            .says("List a merchant's organisations.")
            .needs(Merchant(Read))
            .query(PAGE)
            .answers::<organization::OrganizationPage>(200),
        post("/merchants/{merchant}/organizations", "createOrganization", organization::create)
            .says("Make an organisation. Its head's office gets an address of its own.")
            .needs(Merchant(Write))
            .takes::<OrganizationFacts>()
            .repeatable()
            .tagged()
            .refuses(&[LimitReached])
            .answers::<Organization>(201),
        get("/merchants/{merchant}/organizations/{organization}", "showOrganization", organization::show)
            .says("Show an organisation.")
            .needs(Merchant(Read))
            .tagged()
            .answers::<Organization>(200),
        put("/merchants/{merchant}/organizations/{organization}", "changeOrganization", organization::change)
            .says("Change an organisation's name and heads.")
            .needs(Merchant(Write))
            .takes::<OrganizationFacts>()
            .versioned()
            .tagged()
            .answers::<Organization>(200),
        post("/merchants/{merchant}/organizations/{organization}/disable", "disableOrganization", organization::disable)
            .says("Close an organisation. Its address stays its own.")
            .needs(Merchant(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
        post("/merchants/{merchant}/organizations/{organization}/enable", "enableOrganization", organization::enable)
            .says("Open a disabled organisation.")
            .needs(Merchant(Write))
            .refuses(&[Conflict, LimitReached])
            .answers_as(204, ""),
        // Accounts.
        get("/merchants/{merchant}/accounts", "listAccounts", account::list)
            .says("Look for accounts of a merchant.")
            .needs(Merchant(Read))
            .query(PAGE)
            .query(ACCOUNTS)
            .query(DISABLED)
            .answers::<account::AccountPage>(200),
        get("/accounts/{account}", "showAccount", account::show)
            .says("Show an account.")
            .needs(Merchant(Read))
            .answers::<Account>(200),
        post("/accounts/{account}/disable", "disableAccount", account::disable)
            .says("Disable an account and end everything it has.")
            .needs(Merchant(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
        post("/accounts/{account}/enable", "enableAccount", account::enable)
            .says("Open a disabled account.")
            .needs(Merchant(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
        post("/accounts/{account}/reset-failures", "resetFailures", account::reset_failures)
            .says("Open an account that too many wrong passwords have closed.")
            .needs(Merchant(Write))
            .answers_as(204, ""),
        get("/accounts/{account}/reset", "showReset", reset::show)
            .says("Show the reset of an account that has been started.")
            .needs(Merchant(Read))
            .answers::<Reset>(200),
        post("/accounts/{account}/reset", "startReset", reset::start)
            .says("Let somebody set a password by a link that is used once, after a while in which the owner may call it off. The link is shown this once.")
            .needs(Merchant(Write))
            .and(MAY_RESET)
            .takes::<reset::ResetBody>()
            .repeatable()
            .tagged()
            .answers::<reset::ShownReset>(201),
        delete("/accounts/{account}/reset", "cancelReset", reset::cancel)
            .says("Call off a reset.")
            .needs(Merchant(Write))
            .answers_as(204, ""),
        get("/accounts/{account}/rights", "showRights", account::rights)
            .says("Show an account's roles, permissions and session settings.")
            .needs(Merchant(Read))
            .tagged()
            .answers::<AccountRights>(200),
        put("/accounts/{account}/rights", "changeRights", account::set_rights)
            .says("Change them. Where it may do more or less than before, its tokens end.")
            .needs(Merchant(Write))
            .takes::<AccountRights>()
            .versioned()
            .tagged()
            .answers::<AccountRights>(200),
        get("/accounts/{account}/devices", "listDevices", device::list)
            .says("List the devices that an account has registered to be told something on.")
            .needs(Merchant(Read))
            .answers::<Devices>(200),
        delete("/accounts/{account}/devices/{device}", "removeDevice", device::remove)
            .says("Take a registered device away.")
            .needs(Merchant(Write))
            .answers_as(204, ""),
        delete("/accounts/{account}/devices", "forgetAccountDevices", device::forget)
            .says("Make every known device of an account a stranger, and take all registered ones away.")
            .needs(Merchant(Write))
            .answers_as(204, ""),
        get("/accounts/{account}/sessions", "listAccountSessions", account::sessions)
            .says("List an account's sessions.")
            .needs(Merchant(Read))
            .query(PAGE)
            .answers::<account::SessionPage>(200),
        delete("/accounts/{account}/sessions", "endAccountSessions", account::end_all)
            .says("End every session and token of an account.")
            .needs(Merchant(Write))
            .answers_as(204, ""),
        delete("/accounts/{account}/sessions/{sid}", "endAccountSession", account::end_one)
            .says("End one session of an account.")
            .needs(Merchant(Write))
            .answers_as(204, ""),
        // The audit.
        get("/merchants/{merchant}/audit", "searchMerchantAudit", audit::of_merchant)
            .says("Look for entries within a merchant, the newest first.")
            .needs(Merchant(Read))
            .query(PAGE)
            .query(ENTRIES)
            .answers::<audit::EntryPage>(200),
        get("/audit", "searchAudit", audit::all)
            .says("Look for entries, the newest first.")
            .needs(Platform(Read))
            .query(PAGE)
            .query(ENTRIES)
            .query(WITHIN)
            .answers::<audit::EntryPage>(200),
        get("/audit/verify", "verifyAudit", audit::verify)
            .says("Say whether every entry is as it was sealed.")
            .needs(Platform(Read))
            .query(HEAD)
            .answers::<audit::Verification>(200),
        // Edges.
        get("/edges", "listEdges", edge::list)
            .says("List the edges.")
            .needs(Platform(Read))
            .query(PAGE)
            .answers::<edge::EdgePage>(200),
        post("/edges", "createEdge", edge::create)
            .says("Register an edge.")
            .needs(Platform(Write))
            .takes::<edge::EdgeBody>()
            .repeatable()
            .tagged()
            .answers::<edge::ShownEdge>(201),
        get("/edges/{edge}", "showEdge", edge::show)
            .says("Show an edge.")
            .needs(Platform(Read))
            .tagged()
            .answers::<edge::ShownEdge>(200),
        put("/edges/{edge}", "changeEdge", edge::change)
            .says("Change an edge, its key too: name the next one, let the edge sign with it, then make it the only one.")
            .needs(Platform(Write))
            .takes::<edge::EdgeBody>()
            .versioned()
            .tagged()
            .answers::<edge::ShownEdge>(200),
        post("/edges/{edge}/disable", "disableEdge", edge::disable)
            .says("Let an edge's signature count no more.")
            .needs(Platform(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
        // Signing keys.
        get("/signing-keys", "listSigningKeys", signing::list)
            .says("List the signing keys.")
            .needs(Platform(Read))
            .answers::<signing::SigningKeys>(200),
        post("/signing-keys/rotate", "rotateSigningKey", signing::rotate)
            .says("Let the key sign that stands by.")
            .needs(Platform(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
        post("/signing-keys/{kid}/retire", "retireSigningKey", signing::retire)
            .says("Retire a key at once: whatever it has signed is refused.")
            .needs(Platform(Write))
            .refuses(&[Conflict])
            .answers_as(204, ""),
    ];
    operations.into_iter().map(|operation| operation.below("/admin/v1")).collect()
}
