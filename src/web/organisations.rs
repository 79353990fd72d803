//! What people do with organisations: checked, done and written down here, for the API and the pages alike.
//!
//! Nobody comes by a role except through an owner, an administrator of the server, or a code that one of them gave out.

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::{
    Web,
    audit::Origin,
    auth::Caller,
    problem::{FieldError, Problem},
};
use crate::{
    domain::{
        access::Role,
        ids::{InvitationId, OrganisationId},
        repository::{Visibility, check_name},
    },
    store::{
        Invitation, InvitationAccepted, InvitationAdded, MOST_INVITATIONS, MOST_MEMBERSHIPS, MemberChange,
        NewInvitation, Organisation, OrganisationAdded, OrganisationDeleted, OrganisationMakers,
    },
    tokens,
};

/// Longest display name, in characters.
pub const LONGEST_DISPLAY_NAME: usize = 100;

/// Longest description, in characters.
pub const LONGEST_DESCRIPTION: usize = 1000;

/// Longest e-mail address: RFC 5321.
const LONGEST_EMAIL: usize = 254;

/// How long a code can be used.
const INVITATION_LIFE: TimeDelta = TimeDelta::days(7);

/// What an organisation says of itself.
pub struct Wish {
    pub display_name: String,
    pub description: String,
    pub default_visibility: Visibility,
}

/// An invitation that was just made, with the code, which is shown this once.
pub struct Invited {
    pub invitation: Invitation,
    pub code: SecretString,
}

impl Invited {
    /// Where the invitee accepts.
    pub fn url(&self, web: &Web) -> String {
        format!("{}/invitations/{}", web.settings.base_url, self.code.expose_secret())
    }
}

/// The organisation of this name, or 404.
pub async fn find(web: &Web, name: &str) -> Result<Organisation, Problem> {
    let found = web.store.organisation_named(name).await?;
    found.ok_or_else(|| Problem::not_found("organisation"))
}

/// The organisation of this name, if the caller has at least this role there: 401, 404, 403.
pub async fn find_for(web: &Web, caller: &Caller, name: &str, role: Role) -> Result<Organisation, Problem> {
    caller.user()?;
    let organisation = find(web, name).await?;
    caller.may(&organisation.name, role)?;
    Ok(organisation)
}

/// Makes an organisation, whose owner the caller becomes.
pub async fn create(
    web: &Web,
    caller: &Caller,
    origin: &Origin,
    name: &str,
    wish: Wish,
) -> Result<Organisation, Problem> {
    let user = caller.unrestricted()?;
    if !caller.is_admin() && web.store.organisation_makers().await? == OrganisationMakers::Administrators {
        return Err(Problem::forbidden(
            "only administrators of this server make organisations: ask one of them",
        ));
    }
    let mut errors = check(&wish);
    errors.extend(
        check_name(name)
            .err()
            .map(|error| FieldError::new("name", error.to_string())),
    );
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let organisation = Organisation {
        id: OrganisationId::new(),
        name: name.to_owned(),
        display_name: wish.display_name,
        description: wish.description,
        default_visibility: wish.default_visibility,
        created_at: web.clock.now(),
    };
    let actor = origin.actor(&user.name);
    let taken = |message: String| {
        let problem = Problem::conflict(format!("name: {message}"));
        Err(problem.with_errors(vec![FieldError::new("name", message)]))
    };
    match web
        .store
        .add_organisation(&organisation, &user.id, caller.is_admin(), &actor)
        .await?
    {
        OrganisationAdded::Added => Ok(organisation),
        OrganisationAdded::NameTaken => taken(format!("`{name}` is taken; choose another one")),
        OrganisationAdded::NamespaceInUse => taken(format!(
            "`{name}` is a namespace that administrators use; choose another one, or ask one of them to make it"
        )),
        OrganisationAdded::TooManyMemberships => Err(too_many_memberships(&user.name)),
    }
}

/// Replaces what an organisation says of itself.
pub async fn change(
    web: &Web,
    caller: &Caller,
    origin: &Origin,
    organisation: Organisation,
    wish: Wish,
) -> Result<Organisation, Problem> {
    let user = caller.may(&organisation.name, Role::Owner)?;
    let errors = check(&wish);
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let changed = Organisation {
        display_name: wish.display_name,
        description: wish.description,
        default_visibility: wish.default_visibility,
        ..organisation
    };
    match web
        .store
        .change_organisation(&changed, &origin.actor(&user.name))
        .await?
    {
        true => Ok(changed),
        false => Err(Problem::not_found("organisation")),
    }
}

/// Deletes an organisation; 409 while it has repositories.
pub async fn delete(web: &Web, caller: &Caller, origin: &Origin, organisation: &Organisation) -> Result<(), Problem> {
    let user = caller.may(&organisation.name, Role::Owner)?;
    match web
        .store
        .delete_organisation(&organisation.id, &origin.actor(&user.name))
        .await?
    {
        OrganisationDeleted::Deleted => {
            web.signals.access_changed();
            Ok(())
        }
        OrganisationDeleted::Missing => Err(Problem::not_found("organisation")),
        OrganisationDeleted::HasRepositories => Err(Problem::conflict(format!(
            "`{}` still has repositories; delete them first",
            organisation.name
        ))),
    }
}

/// Gives a user a role, as a new member or instead of the one they have; answers whether they are new.
pub async fn put_member(
    web: &Web,
    caller: &Caller,
    origin: &Origin,
    organisation: &Organisation,
    (member, role): (&str, Role),
) -> Result<bool, Problem> {
    let user = caller.may(&organisation.name, Role::Owner)?;
    let actor = origin.actor(&user.name);
    match web.store.put_member(&organisation.id, member, role, &actor).await? {
        MemberChange::Added => Ok(true),
        MemberChange::Changed => {
            web.signals.access_changed();
            Ok(false)
        }
        MemberChange::Same | MemberChange::Removed => Ok(false),
        MemberChange::Missing => Err(Problem::not_found("user")),
        MemberChange::LastOwner => Err(last_owner(organisation)),
        MemberChange::TooManyMemberships => Err(too_many_memberships(member)),
    }
}

/// Ends a membership: owners end everybody's, everybody their own.
pub async fn remove_member(
    web: &Web,
    caller: &Caller,
    origin: &Origin,
    organisation: &Organisation,
    member: &str,
) -> Result<(), Problem> {
    let user = match caller.user()?.name == member {
        true => caller.unrestricted()?,
        false => caller.may(&organisation.name, Role::Owner)?,
    };
    let actor = origin.actor(&user.name);
    match web.store.remove_member(&organisation.id, member, &actor).await? {
        MemberChange::LastOwner => Err(last_owner(organisation)),
        MemberChange::Missing => Err(Problem::not_found("member")),
        _ => {
            web.signals.access_changed();
            Ok(())
        }
    }
}

/// Invites a user by name, or somebody by e-mail address. No mail is sent: the code is for the caller to hand on.
pub async fn invite(
    web: &Web,
    caller: &Caller,
    origin: &Origin,
    organisation: &Organisation,
    (invitee, role): (&str, Role),
) -> Result<Invited, Problem> {
    let user = caller.may(&organisation.name, Role::Owner)?;
    check_invitee(invitee).map_err(|message| Problem::field("invitee", message))?;
    let code = tokens::new_invitation_code();
    let actor = origin.actor(&user.name);
    let invitation = Invitation {
        id: InvitationId::new(),
        organisation: organisation.id.clone(),
        name: organisation.name.clone(),
        invitee: invitee.to_owned(),
        role,
        invited_by: user.name.clone(),
        created_at: actor.at,
        expires_at: actor.at + INVITATION_LIFE,
    };
    let hash = tokens::token_hash(code.expose_secret());
    let new = NewInvitation {
        id: invitation.id.clone(),
        organisation: &organisation.id,
        invitee,
        role,
        hash: hash.as_bytes(),
        expires_at: invitation.expires_at,
    };
    match web.store.add_invitation(&new, &actor).await? {
        InvitationAdded::Added => Ok(Invited { invitation, code }),
        InvitationAdded::Missing => Err(Problem::not_found("organisation")),
        InvitationAdded::NoSuchUser => Err(Problem::field(
            "invitee",
            format!("there is no user `{invitee}`; whoever has no account yet is invited by e-mail address"),
        )),
        InvitationAdded::AlreadyMember => Err(Problem::conflict(format!(
            "`{invitee}` is a member of `{}` already",
            organisation.name
        ))),
        InvitationAdded::TooMany => Err(Problem::conflict(format!(
            "there are {MOST_INVITATIONS} open invitations already; withdraw some"
        ))),
    }
}

/// Takes an invitation back.
pub async fn withdraw(
    web: &Web,
    caller: &Caller,
    origin: &Origin,
    organisation: &Organisation,
    id: &str,
) -> Result<(), Problem> {
    let user = caller.may(&organisation.name, Role::Owner)?;
    let (id, actor) = (InvitationId::from(id), origin.actor(&user.name));
    match web.store.withdraw_invitation(&organisation.id, &id, &actor).await? {
        true => Ok(()),
        false => Err(Problem::not_found("invitation")),
    }
}

/// The open invitation that a code is for, if it is for the caller: 401, 404.
pub async fn invitation_for(web: &Web, caller: &Caller, code: &str) -> Result<Invitation, Problem> {
    let user = caller.user()?;
    let hash = tokens::token_hash(code);
    let found = web.store.invitation_with(hash.as_bytes(), web.clock.now()).await?;
    found
        .filter(|invitation| invitation.is_for(&user.name))
        .ok_or_else(missing_invitation)
}

/// Makes the caller a member by a code; answers the organisation's name and the role.
pub async fn accept(web: &Web, caller: &Caller, origin: &Origin, code: &str) -> Result<(String, Role), Problem> {
    let user = caller.unrestricted()?;
    let hash = tokens::token_hash(code);
    match web
        .store
        .accept_invitation(hash.as_bytes(), user, &origin.actor(&user.name))
        .await?
    {
        InvitationAccepted::Joined(organisation, role) => Ok((organisation, role)),
        InvitationAccepted::Missing => Err(missing_invitation()),
        InvitationAccepted::TooManyMemberships => Err(too_many_memberships(&user.name)),
    }
}

fn missing_invitation() -> Problem {
    Problem::not_found("invitation for you: it has been used, withdrawn or has expired, or is for somebody else")
}

fn last_owner(organisation: &Organisation) -> Problem {
    Problem::conflict(format!(
        "`{}` would have no owner any more; make somebody else an owner first",
        organisation.name
    ))
}

fn too_many_memberships(name: &str) -> Problem {
    Problem::conflict(format!("`{name}` belongs to {MOST_MEMBERSHIPS} organisations already"))
}

fn check(wish: &Wish) -> Vec<FieldError> {
    let is_text = |text: &str, most: usize| {
        text.chars().count() <= most && !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t')
    };
    let mut errors = Vec::new();
    if !is_text(&wish.display_name, LONGEST_DISPLAY_NAME) || wish.display_name.contains('\n') {
        let message = format!("it is one line of at most {LONGEST_DISPLAY_NAME} characters");
        errors.push(FieldError::new("display_name", message));
    }
    if !is_text(&wish.description, LONGEST_DESCRIPTION) {
        let message = format!("it is text of at most {LONGEST_DESCRIPTION} characters");
        errors.push(FieldError::new("description", message));
    }
    errors
}

/// A user's name, or what looks like an e-mail address: nothing is sent to it, it only says for whom the code is.
fn check_invitee(invitee: &str) -> Result<(), String> {
    let Some((local, host)) = invitee.split_once('@') else {
        return check_name(invitee).map_err(|_| "it is a user's name, or an e-mail address".to_owned());
    };
    let is_plain = |part: &str| {
        let forbidden = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '@' | '<' | '>' | ',' | ';' | '"');
        !part.is_empty() && !part.contains(forbidden)
    };
    match invitee.len() <= LONGEST_EMAIL && is_plain(local) && is_plain(host) {
        true => Ok(()),
        false => Err("it is an e-mail address such as ann@example.com, or a user's name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitee_is_a_users_name_or_an_address() {
        for good in ["ann", "ann-b.c", "ann@example.com", "Ann+x@localhost"] {
            assert_eq!(check_invitee(good), Ok(()), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(LONGEST_EMAIL));
        for bad in [
            "",
            "Ann",
            "a b",
            "@example.com",
            "ann@",
            "a@b@c",
            "a@b\r\nc",
            "Ann <a@b>",
            &long,
        ] {
            assert!(check_invitee(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_text_at_fault_is_named() {
        let check = |display_name: &str, description: &str, expected: &[&str]| {
            let wish = Wish {
                display_name: display_name.to_owned(),
                description: description.to_owned(),
                default_visibility: Visibility::Public,
            };
            let fields: Vec<String> = super::check(&wish).into_iter().map(|error| error.field).collect();
            assert_eq!(fields, expected, "{display_name:?} {description:?}");
        };
        check("", "", &[]);
        check("The Team", "Two\nlines", &[]);
        check("a\nb", "a\0b", &["display_name", "description"]);
        check(&"ä".repeat(100), &"ä".repeat(1000), &[]);
        check(&"ä".repeat(101), &"ä".repeat(1001), &["display_name", "description"]);
    }
}
