"""What may be asked about a write beyond this server's own steps: webhooks and policies, in Kubernetes's order."""

from weft.apiserver.admission.calls import Calls
from weft.apiserver.admission.policies import Policies
from weft.apiserver.admission.webhooks import Webhooks
from weft.apiserver.api import Api, Attributes


class AdmissionHooks:
    """`weft.apiserver.api.Hooks`."""

    def __init__(self, api: Api) -> None:
        self.calls = Calls(api)
        self._webhooks = Webhooks(api, self.calls)
        self._policies = Policies(api)

    async def mutate(self, attributes: Attributes) -> bool:
        return await self._webhooks.mutate(attributes)

    async def validate(self, attributes: Attributes) -> None:
        self._policies.validate(attributes)
        await self._webhooks.validate(attributes)
