"""The service `kubernetes` leads to the server that says so, and saying it again writes nothing."""

from weft.api.gvr import ENDPOINTS, ENDPOINTSLICES, SERVICES
from weft.testing.apiserver import api_server


async def test_moving_the_service_here() -> None:
    async with api_server() as server:
        port = server.settings.api_port
        before = server.server.api.cache.revision
        await server.server.point_here()
        assert server.server.api.cache.revision == before
        other = {"subsets": [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"name": "https", "port": 1}]}]}
        await server.client.patch(ENDPOINTS, "kubernetes", other, "application/merge-patch+json", "default")
        await server.server.point_here()
        found = await server.client.get(ENDPOINTS, "kubernetes", "default")
        assert found["subsets"][0]["ports"][0]["port"] == port
        slices = await server.client.get(ENDPOINTSLICES, "kubernetes", "default")
        assert slices["ports"][0]["port"] == port
        service = await server.client.get(SERVICES, "kubernetes", "default")
        assert service["spec"]["ports"][0]["targetPort"] == port
