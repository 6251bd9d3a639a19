"""Numbers and names that several sections hold."""

from typing import Annotated

from pydantic import Field, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Open = Annotated[float, Field(gt=0.0, lt=1.0)]
Weight = Annotated[float, Field(gt=0.0)]
Rate = Annotated[float, Field(gt=0.0, le=1e3)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
