"""What the simulated cloud remembers after kill -9, and what it forgets."""

from __future__ import annotations

import time

import pytest
import requests

from tests.support.simcloud_api import STATUS, UPDATE, Api
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.processes


def test_everything_answered_survives_kill_9() -> None:
    users = ["me@example.com:pw:4", "b@example.com:pw:1"]
    with SimCloud(hubs=5, offers=1, users=users) as cloud:
        me = Api(cloud.url, "me@example.com", "pw")
        node, second, third = cloud.node_ids()[:3]
        offer = me.get(f"{UPDATE}?node_id={node}")[1]
        follow = f"{STATUS}?node_id={node}&ota_job_id={offer['ota_job_id']}"
        me.call("PUT", f"/v1/user/nodes/params?node_id={second}", {"LIV Hub": {"Name": "Kept"}})
        me.call("PUT", f"/v1/user/nodes?node_id={second}", tags=["a:b"], metadata={"k": 1})
        group = me.call("POST", "/v1/user/node_group", group_name="G", nodes=[second])[1]
        asked = me.call("PUT", "/v1/user/nodes/sharing", nodes=[second], user_name="b@example.com")
        cloud.share(third, "b@example.com")
        cloud.add_account("new@example.com", "pw")
        cloud.set_scenario(third, "stuck", fraction=0.25)
        cloud.publish_offer(third, fw_version="7.7.7", priority=1)
        cloud.fault("500", path="/v1/user2", count=2)
        left = Api(cloud.url, "me@example.com", "pw")
        left.call("POST", "/v1/logout2")
        me.call("POST", UPDATE, node_id=node, ota_job_id=offer["ota_job_id"])
        cloud.advance(60)
        before, hubs = cloud.counters(), cloud.hubs()

        cloud.restart(hard=True)

        assert cloud.counters() == before
        for old, new in zip(hubs, cloud.hubs(), strict=True):
            for key, value in old.items():
                if not key.endswith(("since", "pushes")):
                    assert new[key] == value, key
        assert me.get(follow)[1]["additional_info"] == "Downloading Firmware Image"
        details = me.get(f"/v1/user/nodes?node_id={second}")[1]["node_details"][0]
        assert details["params"]["LIV Hub"]["Name"] == "Kept"
        assert (details["tags"], details["metadata"]) == (["a:b"], {"k": 1})
        found = me.get(f"/v1/user/node_group?node_list=true&group_id={group['group_id']}")[1]
        assert found["groups"][0]["nodes"] == [second]
        guest = Api(cloud.url, "b@example.com", "pw")
        assert third in guest.get("/v1/user/nodes")[1]["nodes"]
        waiting = guest.get("/v1/user/nodes/sharing/requests")[1]["sharing_requests"]
        assert [r["request_id"] for r in waiting] == [asked[1]["request_id"]]
        assert [me.get("/v1/user2")[0] for _ in range(3)] == [500, 500, 200]
        assert left.get("/v1/user")[0] == 401
        assert Api(cloud.url, "new@example.com", "pw").get("/v1/user")[0] == 200

        cloud.advance(400)
        assert me.get(follow)[1]["status"] == "success"
        assert cloud.starts(node) == 1
        assert cloud.hub(third)["scenario"]["fraction"] == 0.25

        cloud.restart()
        assert cloud.hub(node)["fw_version"] == offer["fw_version"]
        assert cloud.pushes(node) == {"accepted": 1}


def test_push_whose_answer_never_arrived_is_remembered_too() -> None:
    with SimCloud(hubs=1, offers=1) as cloud:
        me = Api(cloud.url, cloud.email, cloud.password)
        node = cloud.node_ids()[0]
        job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
        cloud.fault("slow", method="POST", delay_s=60)
        with pytest.raises(requests.ReadTimeout):
            me.session.post(
                cloud.url + UPDATE, json={"node_id": node, "ota_job_id": job}, timeout=0.3
            )
        cloud.restart(hard=True)
        assert cloud.pushes(node, job) == {"accepted": 1}
        assert len(cloud.hub(node)["pushes"]) == 1


def test_hubs_live_on_while_the_cloud_is_down_and_counters_reset_for_good() -> None:
    with SimCloud(hubs=1, offers=1, speed=1000) as cloud:
        me = Api(cloud.url, cloud.email, cloud.password)
        node = cloud.node_ids()[0]
        job = me.get(f"{UPDATE}?node_id={node}")[1]["ota_job_id"]
        me.call("POST", UPDATE, node_id=node, ota_job_id=job)
        cloud.reset_counters()
        cloud.kill()
        time.sleep(0.4)
        cloud.start()
        assert cloud.counters()["requests"] == {}
        assert me.get(f"{STATUS}?node_id={node}&ota_job_id={job}")[1]["status"] == "success"


def test_tokens_expire_and_a_jump_in_time_expires_them_too() -> None:
    with SimCloud(hubs=1, token_life_s=1, state=False) as cloud:
        me = Api(cloud.url, cloud.email, cloud.password)
        time.sleep(1.05)
        assert me.get("/v1/user") == (401, {"message": "The incoming token has expired"})
        me = Api(cloud.url, cloud.email, cloud.password)
        cloud.advance(2)
        assert me.get("/v1/user")[0] == 401
        status, fresh = me.call("POST", "/v1/login2", refreshtoken=me.tokens["refreshtoken"])
        assert status == 200
        assert fresh["accesstoken"] != me.tokens["accesstoken"]


def test_sharing_requests_are_forgotten_after_a_week() -> None:
    users = ["me@example.com:pw", "b@example.com:pw:0"]
    with SimCloud(hubs=1, users=users, state=False) as cloud:
        me = Api(cloud.url, "me@example.com", "pw")
        ask = {"nodes": cloud.node_ids(), "user_name": "b@example.com"}
        me.call("PUT", "/v1/user/nodes/sharing", ask)
        cloud.advance(7 * 86_400 + 1)
        guest = Api(cloud.url, "b@example.com", "pw")
        assert guest.get("/v1/user/nodes/sharing/requests")[1]["sharing_requests"] == []
