"""Addresses of the pages: one list per object, nested."""

from django.urls import URLPattern, URLResolver, include, path

from devices.views import (
    accounts,
    api_tokens,
    audit,
    backups,
    calendar,
    cloud_calls,
    device,
    dismissals,
    firmware_files,
    health,
    help,
    history,
    homeassistant,
    households,
    hub_detail,
    hub_list,
    installs,
    invitation,
    list_exports,
    members,
    news,
    notifications,
    offline,
    overview,
    plans,
    profile,
    proposal_answers,
    proposals,
    queues,
    receipts,
    rehearsal,
    saved_views,
    season,
    setup,
    staff,
    support_codes,
    support_page,
    update_policy,
    versions,
)
from devices.views.language import language

Urls = list[URLPattern | URLResolver]

hub_urls: Urls = [
    path("", hub_detail.hub, name="hub"),
    path("live/", hub_detail.hub_live, name="hub_live"),
    path("check/", hub_list.hub_check, name="hub_check"),
    path("carry-over/", hub_detail.hub_carry_over, name="hub_carry_over"),
    path("file/", firmware_files.request_file, name="firmware_request"),
    path("files/<int:fetch>/", firmware_files.download_file, name="firmware_download"),
    path("install/", installs.confirm, name="hub_install"),
    path("dismiss/", dismissals.hub_dismiss, name="hub_dismiss"),
    path("undismiss/", dismissals.hub_undismiss, name="hub_undismiss"),
    path("propose/", proposals.propose, name="hub_propose"),
    path("rehearsal/", rehearsal.rehearsal, name="rehearsal"),
]

install_urls: Urls = [
    path("", installs.install, name="install"),
    path("live/", installs.install_live, name="install_live"),
    path("again/", installs.install_resume, name="install_resume"),
    path("cancel/", installs.install_cancel, name="install_cancel"),
    path("put-back/", dismissals.install_put_back, name="install_put_back"),
    path("seen/", dismissals.install_seen, name="install_seen"),
    path("receipt/", receipts.receipt, name="install_receipt"),
]

proposal_urls: Urls = [
    path("", proposals.proposals, name="proposals"),
    path("new/", proposals.propose_several, name="propose_several"),
    path("<int:pk>/", proposals.proposal, name="proposal"),
    path("<int:pk>/withdraw/", proposals.withdraw, name="proposal_withdraw"),
    path("<int:pk>/link/", proposals.link, name="proposal_link"),
]

plan_urls: Urls = [
    path("", plans.planned, name="planned"),
    path("live/", plans.planned_live, name="planned_live"),
    path("<int:pk>/", plans.plan_change, name="plan_change"),
    path("<int:pk>/start/", plans.plan_start, name="plan_start"),
    path("<int:pk>/cancel/", plans.plan_cancel, name="plan_cancel"),
]

queue_urls: Urls = [
    path("new/", queues.queue_new, name="queue_new"),
    path("<int:pk>/", queues.queue, name="queue"),
    path("<int:pk>/live/", queues.queue_live, name="queue_live"),
    path("<int:pk>/stop/", queues.queue_stop, name="queue_stop"),
    path("<int:pk>/go-on/", queues.queue_resume, name="queue_resume"),
]

audit_urls: Urls = [
    path("", audit.audit, name="audit"),
    path("chain/", audit.audit_chain, name="audit_chain"),
    # not "…/live/": what it waits for raises no revision of a household
    path("chain/check/", audit.audit_check, name="audit_check"),
    path("verify/", audit.audit_verify, name="audit_verify"),
    path("export.csv", audit.audit_csv, name="audit_csv"),
    path("export.jsonl", audit.audit_jsonl, name="audit_jsonl"),
]

account_urls: Urls = [
    path("", accounts.accounts, name="accounts"),
    path("link/", accounts.account_link, name="account_link"),
    path("try/", accounts.account_trial, name="account_trial"),
    path("<int:pk>/sign-in/", accounts.account_reconnect, name="account_reconnect"),
    path("<int:pk>/forget-password/", accounts.account_forget, name="account_forget"),
    path("<int:pk>/calls/", cloud_calls.account_calls, name="account_calls"),
    path("<int:pk>/unlink/", accounts.account_unlink, name="account_unlink"),
]

member_urls: Urls = [
    path("", members.people, name="people"),
    path("<int:user>/role/", members.role, name="member_role"),
    path("<int:user>/remove/", members.remove, name="member_remove"),
    path("<int:user>/reset/", members.reset, name="member_reset"),
]

home_assistant_urls: Urls = [
    path("", homeassistant.home_assistant, name="home_assistant"),
    path("line/", homeassistant.home_assistant_live, name="home_assistant_live"),
    path("test/", homeassistant.home_assistant_test, name="home_assistant_test"),
]

notification_urls: Urls = [
    path("", notifications.notifications, name="notifications"),
    path("services/new/", notifications.service_new, name="notification_service_new"),
    path("services/<int:channel>/", notifications.service, name="notification_service"),
    path(
        "services/<int:channel>/remove/",
        notifications.service_remove,
        name="notification_service_remove",
    ),
    path("<int:channel>/test/", notifications.test, name="notification_test"),
    path("devices/<int:device>/", device.notification_device, name="notification_device"),
]

household_urls: Urls = [
    path("", support_page.household, name="household"),
    path("proposals/", proposal_answers.household_proposals, name="household_proposals"),
    path("settings/", households.settings, name="household_settings"),
    path("support/", households.support, name="household_support"),
    path("updates/", update_policy.update_policy, name="update_policy"),
    path("leave/", households.leave, name="household_leave"),
    path("hand-over/", households.transfer, name="household_transfer"),
    path("people/", include(member_urls)),
    path("invitations/<int:invitation>/withdraw/", members.withdraw, name="invitation_withdraw"),
    path("home-assistant/", include(home_assistant_urls)),
    path("notifications/", include(notification_urls)),
    path("tokens/", api_tokens.token_list, name="api_tokens"),
    path("tokens/<int:token>/revoke/", api_tokens.token_revoke, name="api_token_revoke"),
    path("calendar/", calendar.calendar, name="calendar"),
    path("season/", season.season, name="season"),
    path("play/", plans.planned_play, name="planned_play"),
]

device_urls: Urls = [
    path("", device.this_device, name="this_device"),
    path("add/", device.push_add, name="push_add"),
    path("renew/", device.push_renew, name="push_renew"),
    path("<int:pk>/remove/", device.push_remove, name="push_remove"),
    path("<int:pk>/test/", device.push_test, name="push_test"),
]

server_urls: Urls = [
    path("", health.server_status, name="server_status"),
    path("backups/", backups.backups, name="server_backups"),
    path("backups/live/", backups.backups_live, name="server_backups_live"),
    path("backups/new/", backups.backup_new, name="server_backup_new"),
    path("backups/<int:pk>/file/", backups.backup_download, name="server_backup_download"),
    path("versions/", versions.hold, name="server_versions"),
    path("people/", staff.server_people, name="server_people"),
    path("people/new/", staff.server_person_new, name="server_person_new"),
    path("people/<int:pk>/", staff.server_person, name="server_person"),
    path("people/<int:pk>/act/", staff.server_person_act, name="server_person_act"),
    path("households/new/", staff.server_household_new, name="server_household_new"),
]

# Links that work without a sign-in: the token in the address is the permission.
token_urls: Urls = [
    path("calendar/<str:token>.ics", calendar.calendar_feed, name="calendar_feed"),
    path("decide/<str:token>/", proposal_answers.answer, name="proposal_answer"),
    path("not-this-one/<str:token>/", update_policy.answer, name="policy_answer"),
    path("invitation/<str:token>/", invitation.invitation, name="invitation"),
    path("not-tonight/<str:token>/", plans.not_tonight, name="not_tonight"),
    path("notifications/off/<str:token>/", notifications.unsubscribe, name="unsubscribe"),
    path("welcome/<str:token>/", setup.setup, name="setup"),
]

urlpatterns: Urls = [
    path("", hub_list.hubs, name="hubs"),
    path("hubs/live/", hub_list.hubs_live, name="hubs_live"),
    path("hubs/check/", hub_list.hubs_check, name="hubs_check"),
    path("hubs/views/", saved_views.view_save, name="view_save"),
    path("hubs/views/<int:pk>/remove/", saved_views.view_remove, name="view_remove"),
    path("hubs/export.csv", list_exports.hubs_csv, name="hubs_csv"),
    path("hubs/export.jsonl", list_exports.hubs_jsonl, name="hubs_jsonl"),
    path("hubs/<int:pk>/", include(hub_urls)),
    path("installs/<int:pk>/", include(install_urls)),
    path("proposals/", include(proposal_urls)),
    path("planned/", include(plan_urls)),
    path("queues/", include(queue_urls)),
    path("history/", history.history, name="history"),
    path("history/export.csv", list_exports.history_csv, name="history_csv"),
    path("history/export.jsonl", list_exports.history_jsonl, name="history_jsonl"),
    path("overview/", overview.overview, name="overview"),
    path("versions/", versions.versions, name="versions"),
    path("versions/one/", versions.version, name="version"),
    path("audit/", include(audit_urls)),
    path("accounts/", include(account_urls)),
    path("households/", households.households, name="households"),
    path("households/choose/", households.select, name="household_select"),
    path("households/new/", households.new, name="household_new"),
    path("households/<int:pk>/", include(household_urls)),
    path("server/", include(server_urls)),
    path("help/", help.help_page, name="help"),
    path("codes/", support_codes.support_codes, name="support_codes"),
    path("unexplained/", support_codes.unrecognised_messages, name="unrecognised_messages"),
    path("new/", news.whats_new, name="whats_new"),
    path("new/seen/", news.news_seen, name="news_seen"),
    path("profile/", profile.profile, name="profile"),
    path("profile/address/", profile.address_mail, name="address_mail"),
    path("profile/address/<str:token>/", profile.address_confirm, name="address_confirm"),
    path("profile/two-step-code/", profile.factor_code, name="factor_code"),
    path("profile/device/", include(device_urls)),
    path("offline/", offline.offline, name="offline"),
    path("offline/list/", offline.offline_list, name="offline_list"),
    path("app.<str:language>.webmanifest", offline.manifest, name="manifest"),
    path("sw.js", offline.service_worker, name="service_worker"),
    path("language/", language, name="language"),
    path("", include(token_urls)),
    path("api/", include("devices.api.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
]
