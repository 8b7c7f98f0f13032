# -*- test-case-name: tests.policy.builtin.test_factory -*-
"""The built-in policies, shown to the plugin loader."""

from mqttsecure.policy.builtin.factory import BuiltinFactory

ip_allowlist = BuiltinFactory("ip-allowlist", "ip_allowlist:IpAllowlistFactory")
ban = BuiltinFactory("ban", "ban:BanFactory")
connection_limit = BuiltinFactory("connection-limit", "connection_limit:ConnectionLimitFactory")
tls_requirements = BuiltinFactory("tls-requirements", "tls_requirements:TlsRequirementsFactory")
client_id = BuiltinFactory("client-id", "client_id:ClientIdFactory")
password_file = BuiltinFactory("password-file", "password_file:PasswordFilePolicyFactory")
scram = BuiltinFactory("scram", "scram:ScramFactory")
client_certificate = BuiltinFactory("client-certificate", "client_certificate:ClientCertificateFactory")
jwt = BuiltinFactory("jwt", "jwt:JwtFactory")
http = BuiltinFactory("http", "http_service:HttpFactory")
anonymous = BuiltinFactory("anonymous", "anonymous:AnonymousFactory")
block_list = BuiltinFactory("block-list", "block_list:BlockListFactory")
topic_acl = BuiltinFactory("topic-acl", "topic_acl:TopicAclFactory")
schedule = BuiltinFactory("schedule", "schedule:ScheduleFactory")
payload = BuiltinFactory("payload", "payload:PayloadFactory")
quota = BuiltinFactory("quota", "quota:QuotaFactory")
rate_limit = BuiltinFactory("rate-limit", "rate_limit:RateLimitFactory")
